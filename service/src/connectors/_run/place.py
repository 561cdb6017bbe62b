"""Who answers a command: the connectors that are installed here, or servers."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from connectors._run.mistakes import Mistake
from connectors._settings import SettingsError, flag_of, load
from connectors.errors import FailedPrecondition

if TYPE_CHECKING:
    from connectors.local import Calls

__all__ = ["PLACE_SETTINGS", "Place", "with_place"]

PLACE_SETTINGS = frozenset(
    {
        "config",
        "log_level",
        "log_format",
        "allow_plugins",
        "deny_plugins",
        "secret_sources",
        "secret_folders",
        "secret_namespaces",
        "egress_proxy",
        "egress_ca_file",
    }
)
"""What of a server's settings matters to a connector that runs here."""

_LOGGING = frozenset({"log_level", "log_format"})
_PANEL = "Through a server"


@dataclass(frozen=True)
class Place:
    """Where a command's calls go."""

    settings: Mapping[str, Any]
    """By field, None where the flag was not given."""
    endpoints: tuple[str, ...] = ()
    protocol: Literal["flyte1", "flyte2"] = "flyte1"
    call_timeout: float = 10.0
    tls: bool = False
    ca_file: Path | None = None
    server_name: str = ""

    @asynccontextmanager
    async def calls(self) -> AsyncIterator[Calls]:
        """Who answers, while the context lasts.

        :raises Mistake: a flag is of no use, or does not hold what it should. :raises SettingsError: a setting is not
            as it should be.
        """
        if not self.endpoints:
            from connectors.local import InProcess  # noqa: PLC0415 - it loads the engine

            async with AsyncExitStack() as ending:
                try:
                    here = await ending.enter_async_context(InProcess(settings=self.settings))
                except FailedPrecondition as error:  # all that it may be: nothing has been asked of a connector yet
                    cause = error.__cause__
                    raise cause if isinstance(cause, SettingsError) else Mistake(error.message) from None
                yield here
            return
        from connectors.client import ConnectorClient, tls  # noqa: PLC0415 - it loads the messages
        from connectors.local import ThroughServer  # noqa: PLC0415 - likewise

        try:
            client = ConnectorClient(
                self.endpoints,
                self.protocol,
                timeout=self.call_timeout,
                ssl=tls(self.ca_file) if self.tls or self.ca_file or self.server_name else None,
                server_name=self.server_name,
            )
        except ValueError as error:
            raise Mistake(str(error)) from None
        async with client:
            yield ThroughServer(client)

    def check(self) -> None:
        """Find out before anything is run whether the flags fit together.

        :raises Mistake: they do not. :raises SettingsError: a setting is not as it should be.
        """
        if not self.endpoints:
            for flag, given in (("--tls", self.tls), ("--ca-file", self.ca_file), ("--server-name", self.server_name)):
                if given:
                    raise Mistake(f"{flag}: is of no use without --endpoint")
            load(self.settings)
            return
        for name, given in self.settings.items():
            if given is not None and name not in _LOGGING:
                raise Mistake(
                    f"{flag_of(name)}: is of no use with --endpoint, whose connectors have the server's settings"
                )

    def set_up_logging(self) -> None:
        """As the settings say; where none says a level, errors alone are logged, such as a connector's bug: what a run
        comes to is shown anyway. Secrets are taken out of what is logged.
        """
        from connectors._observability.logs import configure  # noqa: PLC0415 - nothing else here needs it

        settings = load(self.settings)
        configure(settings.log_format, settings.log_level if "log_level" in settings.model_fields_set else "error")


def with_place(command: Callable[..., None]) -> Callable[..., None]:
    """``command``, whose first parameter is a :class:`Place`, with the flags that make one.

    The result's first parameter takes the settings' flags (:func:`connectors._settings.flags.with_settings`).
    """
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    settings, *flags = inspect.signature(_place, eval_str=True).parameters.values()
    names = [flag.name for flag in flags]

    def run(given_settings: Mapping[str, Any], **given: Any) -> None:
        place = _place(given_settings, **{name: given.pop(name) for name in names})
        place.check()
        command(place, **given)

    run.__doc__ = inspect.getdoc(command)
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # what typer reads
        [settings, *(each.replace(kind=each.KEYWORD_ONLY) for each in (*own, *flags))]
    )
    return run


def _place(
    settings: Mapping[str, Any],
    *,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A server's address; several take turns. By default the connectors installed here answer.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The backend's: flyte1 or flyte2; by default flyte1.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    call_timeout: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", min=0.001, help="Seconds that each call to a server may take.", rich_help_panel=_PANEL
        ),
    ] = 10.0,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls", help="Use TLS; the server's certificate is one that the system trusts.", rich_help_panel=_PANEL
        ),
    ] = False,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="TEXT",
            help="Use TLS; the file of certificate authorities (PEM) that are trusted in place of the system's.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    server_name: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Use TLS; the name that the server's certificate is for, where it is not the host's.",
            rich_help_panel=_PANEL,
        ),
    ] = "",
) -> Place:
    if protocol not in ("flyte1", "flyte2", None):
        raise Mistake(f"--protocol: flyte1 or flyte2 is needed, not {protocol!r}")
    if protocol is not None and not endpoint:
        raise Mistake("--protocol: is of no use without --endpoint")
    for each in endpoint or ():
        scheme, found, _ = each.partition("://")
        if found:
            raise Mistake(f"--endpoint: HOST:PORT is needed, without {scheme}://, not {each!r}")
    return Place(
        settings,
        tuple(endpoint or ()),
        "flyte2" if protocol == "flyte2" else "flyte1",
        call_timeout=call_timeout,
        tls=tls,
        ca_file=ca_file,
        server_name=server_name,
    )
