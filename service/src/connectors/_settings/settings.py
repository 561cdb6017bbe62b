"""Every setting: its default, its range, what it means. The command's flags and the reference page are made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from connectors._engine.options import ConnectorLimits, EngineOptions
from connectors._engine.secret_access import PluginSecrets
from connectors._registry import Selection
from connectors._settings.secrets import SecretsOfPlugin
from connectors._settings.sources import ConfigFile, Environment, flag_of
from connectors.http import Egress

__all__ = ["LimitsOfConnector", "Settings", "address"]

_ENGINE, _LIMITS = EngineOptions(), ConnectorLimits()
_LEAST_RETENTION = 3_600.0
"""Seconds. A poll keeps the record of its job, and is written down to the half hour."""


def address(host: str, port: int) -> str:
    """``host:port``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _not_empty(host: str) -> str:
    if not host.strip():  # to the sockets it is every interface, which nobody means who leaves a variable empty
        raise ValueError("must name an address; 0.0.0.0 is every interface")
    return host


def _not_twice(words: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(words)) < len(words):
        raise ValueError("must not name one twice")
    return words


def _an_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    bare = host.startswith("[") == host.endswith("]") and (":" not in host or host.startswith("["))
    if not (host and bare and port.isascii() and port.isdecimal() and 0 < int(port) <= 65_535) or "/" in host:
        raise ValueError("must be host:port, with an IPv6 address in brackets")
    return address


def _a_proxy(address: str) -> str:
    Egress(proxy=address)
    return address


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
SecretSources = Annotated[
    tuple[Annotated[Literal["request", "environment", "files", "kubernetes"], BeforeValidator(_lower)], ...],
    BeforeValidator(_split),
    AfterValidator(_not_twice),
]
Host = Annotated[str, AfterValidator(_not_empty)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)]
"""At most a year: a larger number is a mistake of units."""
PositiveSeconds = Annotated[Seconds, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
PerSecond = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=1, le=2**31 - 1)]


def _setting(default: Any, section: str, description: str, *, repr: bool = True) -> Any:  # noqa: A002 - pydantic's own word
    return Field(default, description=description, json_schema_extra={"section": section}, repr=repr)


class LimitsOfConnector(BaseModel):
    """``[connectors.<task type>]``: limits of one connector. What is left out is as for every connector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    concurrency: Count | None = None
    queue: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    threads: Annotated[int, Field(ge=1, le=10_000)] | None = None
    attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    retry_budget: PerSecond | None = None


class Settings(BaseSettings):
    """The server's settings.

    A field is a flag (``metrics_port``: ``--metrics-port``), a variable (``CONNECTORS_METRICS_PORT``) and a key of
    the file (``metrics_port``, or ``metrics-port``). Use :func:`connectors._settings.load`, whose errors name the
    source at fault.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    config: Path | None = _setting(
        None, "General", "The configuration file. By default ./connectors.toml, where there is one."
    )
    log_format: Annotated[Literal["console", "json"], BeforeValidator(_lower)] = _setting(
        "console", "General", "How log lines are written to standard error: 'console' for people, 'json' for machines."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = _setting(
        "info",
        "General",
        "The least level that is logged: debug, info, warning or error. SIGUSR1 turns debug on in a server that runs, "
        "and off again.",
    )
    audit_log: bool = _setting(
        True, "General", "Log every create and delete, by whom and of which job, whatever --log-level says."
    )

    # Loopback: callers are not authenticated, and the server acts with the operator's cloud credentials. In a
    # container, where a network policy is the control, it has to be opened; the image does so.
    host: Host = _setting("127.0.0.1", "Listening", "The address that gRPC is served on; 0.0.0.0 is every interface.")
    port: Port = _setting(8000, "Listening", "The port that gRPC is served on; 0 takes a free one.")
    metrics_host: Host | None = _setting(
        None, "Listening", "The address of the metrics port; by default that of --host."
    )
    metrics_port: Port = _setting(
        9090, "Listening", "The port that serves /metrics, /healthz and /readyz over HTTP; 0 takes a free one."
    )
    status_page: bool = _setting(
        False, "Listening", "Serve a page for people on the metrics port, at /: connectors, the last calls, faults."
    )
    reflection: bool = _setting(True, "Listening", "Serve gRPC server reflection, for tools such as grpcurl.")
    max_message_bytes: Bytes = _setting(
        4 * 1024 * 1024, "Listening", "The largest request message in bytes; a larger one is refused."
    )
    max_connections: Count = _setting(10_000, "Listening", "Connections open at once; further ones are refused.")
    max_connection_age: Seconds = _setting(
        1800.0,
        "Listening",
        "Seconds, more or less by a tenth, after which a client is asked to connect anew, so that servers which are "
        "added get their share of the calls; 0 is never.",
    )
    max_connection_age_grace: PositiveSeconds = _setting(
        120.0,
        "Listening",
        "Seconds that calls of such a connection then have to end in; longer than --max-timeout, and none is lost.",
    )
    grace: Seconds = _setting(
        25.0, "Listening", "Seconds that calls in flight, and creates, have to end in after SIGTERM or SIGINT."
    )
    drain_delay: Seconds | None = _setting(
        None,
        "Listening",
        "Seconds after SIGTERM in which calls are still taken, but health says NOT_SERVING, so that callers find other "
        "servers; the grace follows. By default 5 in a pod of Kubernetes, else 0; none after SIGINT.",
    )

    fallback: Annotated[str, AfterValidator(_an_address)] | None = _setting(
        None,
        "Fallback",
        "host:port of another connector service, such as Flyte's own. Calls for task types that no plugin here serves "
        "are passed on to it, and its list is merged with this one's.",
    )
    fallback_tls: bool = _setting(False, "Fallback", "Speak TLS with it; its certificate has to be for its host.")
    fallback_ca_file: Path | None = _setting(
        None, "Fallback", "A file of certificate authorities (PEM) that are trusted for it; by default the system's."
    )

    tls_certificate: Path | None = _setting(
        None,
        "TLS",
        "A file with the gRPC port's certificate and those that lead to its authority (PEM). With it and --tls-key the "
        "port speaks TLS alone; the metrics port always speaks plain HTTP. Files that change are read again.",
    )
    tls_key: Path | None = _setting(None, "TLS", "A file with the certificate's private key (PEM, not encrypted).")
    tls_client_ca: Path | None = _setting(
        None,
        "TLS",
        "A file of certificate authorities (PEM): callers then need a certificate of one of them; Flyte's have none.",
    )

    store: str = _setting(
        "sqlite://",
        "Store",
        "Where idempotency records are kept: memory://, sqlite:///path, redis://host:port/database (rediss:// with "
        "TLS) or postgresql://user@host:port/database. sqlite:// is in the user's state folder.",
        repr=False,
    )
    key_namespace: str = _setting(
        "",
        "Store",
        "Names the Flyte cluster in every idempotency key. Two clusters that share a cloud project need two names.",
    )
    store_retention: PositiveSeconds = _setting(
        _ENGINE.store_retention, "Store", "Seconds that an idempotency record is kept after its last change."
    )
    lease: PositiveSeconds = _setting(
        _ENGINE.lease, "Store", "Seconds that a create's reservation outlives a server that died."
    )
    result_ttl: PositiveSeconds = _setting(
        _ENGINE.result_ttl, "Store", "Seconds that the result of a sync connector is kept for repeats."
    )
    result_max_bytes: Bytes = _setting(
        _ENGINE.result_max_bytes, "Store", "The largest result of a sync connector that is kept, in bytes."
    )

    rerun_after: Seconds = _setting(
        _ENGINE.rerun_after,
        "Jobs",
        "A create that comes this many seconds after a poll told its job's end is a new run of the same name.",
    )
    orphan_after: PositiveSeconds = _setting(
        _ENGINE.orphan_after,
        "Jobs",
        "A job whose create's answer reached nobody is cancelled where nobody asks for it within this many seconds.",
    )
    unpolled_after: PositiveSeconds = _setting(
        _ENGINE.unpolled_after,
        "Jobs",
        "A job that is not known to have ended is reported where nobody asks for it for this many seconds.",
    )
    cancel_unpolled: bool = _setting(_ENGINE.cancel_unpolled, "Jobs", "Cancel such a job, too.")
    fail_after_fault: Seconds = _setting(
        _ENGINE.fail_after_fault,
        "Jobs",
        "A job whose platform could not be asked for this many seconds is cancelled and fails, to be retried; 0 is "
        "never.",
    )

    paused_file: Path | None = _setting(
        None,
        "Plugins",
        "A file of task types and plugins for which nothing new is begun, one a line, * for all; polls, deletes and "
        "logs go on. It may be missing, and is read again within a second of a change.",
    )
    strict_plugins: bool = _setting(False, "Plugins", "Refuse to start where any plugin cannot be loaded.")
    allow_plugins: Names | None = _setting(None, "Plugins", "Load only these plugins, separated by commas.")
    deny_plugins: Names = _setting((), "Plugins", "Do not load these plugins. Deny wins over allow.")
    allow_task_types: Names | None = _setting(None, "Plugins", "Serve only these task types, separated by commas.")
    deny_task_types: Names = _setting((), "Plugins", "Do not serve these task types. Deny wins over allow.")

    secret_sources: SecretSources = _setting(
        ("request", "environment", "files"),
        "Secrets",
        "Where secrets are looked for, in this order: request, environment, files, kubernetes (which needs the extra "
        "of that name).",
    )
    secret_folders: Names = _setting(
        ("/etc/secrets",), "Secrets", "The folders of the source files: a file is named after its secret."
    )
    secret_namespaces: Names = _setting(
        (),
        "Secrets",
        "The workflows' namespaces in which the source kubernetes may read; * and ? are wildcards. By default none.",
    )

    egress_proxy: Annotated[str, AfterValidator(_a_proxy)] | None = _setting(
        None,
        "Egress",
        "The proxy for requests to platforms, http://host:port, also with user:password@. By default HTTPS_PROXY and "
        "HTTP_PROXY say; NO_PROXY holds in both cases.",
        repr=False,
    )
    egress_ca_file: Path | None = _setting(
        None,
        "Egress",
        "A file of certificate authorities (PEM) that are trusted in place of the system's. By default SSL_CERT_FILE "
        "says.",
    )

    default_timeout: PositiveSeconds = _setting(
        _ENGINE.default_timeout, "Limits", "Seconds for a call whose caller set no deadline."
    )
    max_timeout: PositiveSeconds = _setting(
        _ENGINE.max_timeout, "Limits", "The longest time in seconds that a caller's deadline can ask for."
    )
    deadline_margin: Seconds = _setting(
        _ENGINE.margin,
        "Limits",
        "The answer leaves this many seconds before the caller's deadline, or a tenth of the time where that is less.",
    )
    create_timeout: PositiveSeconds = _setting(
        _ENGINE.create_timeout, "Limits", "Seconds that a create may go on, also after its caller gave up."
    )
    do_timeout: PositiveSeconds = _setting(
        _ENGINE.do_timeout, "Limits", "Seconds that a sync connector's call may take where it runs as a job (Flyte 2)."
    )
    retry_initial: PositiveSeconds = _setting(
        _ENGINE.retry_initial, "Limits", "The first pause between tries is a random time up to this many seconds."
    )
    retry_max: PositiveSeconds = _setting(
        _ENGINE.retry_max, "Limits", "The longest pause between tries in seconds; a platform may ask for a longer one."
    )
    concurrency: Count = _setting(_ENGINE.concurrency, "Limits", "Calls to all connectors at once.")
    connector_concurrency: Count = _setting(_LIMITS.concurrency, "Limits", "Calls to one connector at once.")
    connector_queue: Annotated[int, Field(ge=0, le=1_000_000)] = _setting(
        _LIMITS.queue, "Limits", "Calls that may wait for their turn at one connector."
    )
    connector_threads: Annotated[int, Field(ge=1, le=10_000)] = _setting(
        _LIMITS.threads, "Limits", "Threads for the blocking methods of one connector."
    )
    connector_attempts: Annotated[int, Field(ge=1, le=100)] = _setting(
        _LIMITS.attempts, "Limits", "How often one call tries at the most; 1 is no retry."
    )
    connector_retry_budget: PerSecond = _setting(
        _LIMITS.retry_budget,
        "Limits",
        "Retries per second over all calls to one connector, ten seconds' worth at once; 0 is none.",
    )

    connectors: dict[str, LimitsOfConnector] = Field(
        default_factory=dict, description="Limits by task type, in the file alone: [connectors.<task type>]."
    )
    plugins: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        repr=False,
        description="Each plugin's own settings: [plugins.<name>] in the file, CONNECTORS_<PLUGIN>__<FIELD>.",
    )

    secrets: dict[str, SecretsOfPlugin] = Field(
        default_factory=dict,
        repr=False,
        description="Which secrets a plugin may read, and a project's own, in the file alone: [secrets.<plugin>].",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the file that one of these names."""
        environment = Environment(settings_cls)
        named = init_settings().get("config") or environment().get("config")
        return init_settings, environment, ConfigFile(settings_cls, named)

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        for shorter, longer in (("default_timeout", "max_timeout"), ("retry_initial", "retry_max")):
            if getattr(self, shorter) > getattr(self, longer):
                raise ValueError(f"{flag_of(shorter)} must not be longer than {flag_of(longer)}")
        if self.store_retention <= _LEAST_RETENTION:
            raise ValueError(f"{flag_of('store_retention')} must be longer than {_LEAST_RETENTION:g} (an hour)")
        for shorter in ("unpolled_after", "orphan_after", "rerun_after"):
            if self.store_retention <= getattr(self, shorter):
                raise ValueError(f"{flag_of('store_retention')} must be longer than {flag_of(shorter)}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError(f"{flag_of('tls_certificate')} and {flag_of('tls_key')} need each other")
        if self.fallback_ca_file is not None and not self.fallback_tls:
            raise ValueError(f"{flag_of('fallback_ca_file')} needs {flag_of('fallback_tls')}")
        if self.fallback_tls and self.fallback is None:
            raise ValueError(f"{flag_of('fallback_tls')} needs {flag_of('fallback')}")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError(f"{flag_of('tls_client_ca')} needs {flag_of('tls_certificate')} and {flag_of('tls_key')}")
        if self.port and self.port == self.metrics_port and self.metrics_host in (None, self.host):
            flags = f"{flag_of('port')} and {flag_of('metrics_port')}"
            raise ValueError(f"cannot listen on {address(self.host, self.port)} twice: {flags} name the same port")
        return self

    def selection(self) -> Selection:
        """Which plugins and task types are wanted."""
        return Selection(
            allow_plugins=None if self.allow_plugins is None else frozenset(self.allow_plugins),
            deny_plugins=frozenset(self.deny_plugins),
            allow_task_types=None if self.allow_task_types is None else frozenset(self.allow_task_types),
            deny_task_types=frozenset(self.deny_task_types),
        )

    def egress(self) -> Egress:
        """Which way requests leave."""
        return Egress(self.egress_proxy, None if self.egress_ca_file is None else str(self.egress_ca_file))

    def plugin_secrets(self) -> dict[str, PluginSecrets]:
        """The operator's word on secrets, by plugin."""
        return {plugin: PluginSecrets(own.names, own.projects) for plugin, own in self.secrets.items()}

    def engine_options(self) -> EngineOptions:
        """The engine's part."""
        general = ConnectorLimits(
            concurrency=self.connector_concurrency,
            queue=self.connector_queue,
            threads=self.connector_threads,
            attempts=self.connector_attempts,
            retry_budget=self.connector_retry_budget,
        )
        return EngineOptions(
            key_namespace=self.key_namespace,
            concurrency=self.concurrency,
            default_timeout=self.default_timeout,
            max_timeout=self.max_timeout,
            margin=self.deadline_margin,
            create_timeout=self.create_timeout,
            do_timeout=self.do_timeout,
            lease=self.lease,
            retry_initial=self.retry_initial,
            retry_max=self.retry_max,
            result_ttl=self.result_ttl,
            result_max_bytes=self.result_max_bytes,
            store_retention=self.store_retention,
            rerun_after=self.rerun_after,
            orphan_after=self.orphan_after,
            unpolled_after=self.unpolled_after,
            cancel_unpolled=self.cancel_unpolled,
            fail_after_fault=self.fail_after_fault,
            limits=general,
            per_connector={
                task_type: ConnectorLimits(
                    concurrency=general.concurrency if own.concurrency is None else own.concurrency,
                    queue=general.queue if own.queue is None else own.queue,
                    threads=general.threads if own.threads is None else own.threads,
                    attempts=general.attempts if own.attempts is None else own.attempts,
                    retry_budget=general.retry_budget if own.retry_budget is None else own.retry_budget,
                )
                for task_type, own in self.connectors.items()
            },
        )
