"""The classes that a connector author derives from.

A connector is one object per server. Its methods are called concurrently, are idempotent, and keep nothing about a job
between calls: what ``get`` and ``delete`` need is in the resource meta that ``create`` returned. A method may be a
plain ``def``; it then runs in that connector's own bounded thread pool.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from connectors.context import Context
from connectors.errors import InvalidRequest, Unimplemented
from connectors.http import HttpClient
from connectors.models import LogPage, MetricResult, Resource, TaskTemplate

__all__ = ["AsyncConnectorBase", "ConnectorBase", "NoSettings", "ResourceMeta", "SyncConnectorBase"]


T = TypeVar("T")
_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(meta: type[T]) -> TypeAdapter[T]:
    adapter = _adapters.get(meta)
    if adapter is None:
        adapter = _adapters[meta] = TypeAdapter(meta)  # building one takes a millisecond
    return adapter


_defaults: dict[type[Any], tuple[tuple[str, Any], ...]] = {}


def _defaults_of(meta: type[Any]) -> tuple[tuple[str, Any], ...]:
    found = _defaults.get(meta)
    if found is None:
        found = tuple((item.name, item.default) for item in fields(meta) if item.default is not MISSING)
        _defaults[meta] = found
    return found


@dataclass(frozen=True)
class ResourceMeta:
    """What finds a job again: a frozen dataclass that derives from this.

    It travels through the backend in the clear and comes back as a caller's input: no secret belongs in it, and no
    field of it may be trusted to choose where credentials go. On the wire it is a JSON object of its fields; a field
    that equals its default is left out, and a field that this release does not know is ignored, so that metas may grow.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore", strict=True)

    def encode(self) -> bytes:
        """The bytes that the backend keeps."""
        defaults = _defaults_of(type(self))
        left_out = {name for name, default in defaults if getattr(self, name) == default}
        # what the adapter's own method does, less the thirteen options that it hands on
        return _adapter(type(self)).serializer.to_json(self, exclude=left_out, warnings="error")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The meta that :meth:`encode` wrote.

        :raises InvalidRequest: the bytes are no such meta: none, cut, of another connector, or of another kind.
        """
        if not data:
            raise InvalidRequest("resource_meta is missing: the request names no job")
        try:
            meta: Self = _adapter(cls).validator.validate_json(data)
            return meta
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            problem = f"{where}: {first['msg']}" if where else first["msg"]
            raise InvalidRequest(f"the resource meta is not one of this connector ({problem})") from error


MetaT = TypeVar("MetaT", bound=ResourceMeta)


@dataclass(frozen=True)
class NoSettings:
    """The settings of a connector that has none."""


class ConnectorBase(ABC):
    """What async and sync connectors have in common. Derive from one of those."""

    task_type: ClassVar[str]
    """The task type that this connector serves."""
    task_type_version: ClassVar[int] = 0
    Settings: ClassVar[type[Any]] = NoSettings
    """A frozen dataclass of this plugin's settings, each with a default: filled from ``CONNECTORS_<PLUGIN>__<FIELD>``
    and ``[plugins.<name>]``, validated at start."""
    secret_names: tuple[str, ...] | None = None
    """The names of the secrets that this connector may ask ``ctx.secrets`` for, of the class or, where its settings
    name them, of the object once it is constructed; an operator adds others (``[secrets.<plugin>] names``). None: any
    that no other plugin declares, and then of the environment only variables that begin with ``_FSEC_``. Declare the
    names, above all where a task can choose one."""

    def __init__(self, settings: Any = None) -> None:
        self.settings = self.Settings() if settings is None else settings

    @property
    def name(self) -> str:
        """The name under which the backend lists this connector."""
        return f"{type(self).__name__.removesuffix('Connector')} Connector"

    @property
    def is_wanted(self) -> bool:
        """Whether the settings want this connector: one that they do not want is not served, and that is no failure.
        For a plugin that brings several, or a task type that others usually serve.
        """
        return True

    async def start(self, http: HttpClient) -> None:
        """Called once before the first call: for what lives as long as the server.

        :param http: the process's pooled HTTP client, the same as each call's ``ctx.http``.
        """

    async def aclose(self) -> None:
        """Called once after the last call."""


class AsyncConnectorBase(ConnectorBase, Generic[MetaT]):
    """A connector for jobs that outlast a call: created, then polled until they end, or deleted.

    ``class Acme(AsyncConnectorBase[AcmeJob])``, where ``AcmeJob`` is a frozen dataclass that derives from
    :class:`ResourceMeta`.
    """

    meta_type: ClassVar[type[ResourceMeta]]
    dedupe: ClassVar[Literal["native", "search", "none"]] = "none"
    """What makes a repeated create safe. ``native``: the platform makes one job per ``ctx.idempotency_key``, also of
    creates at the same instant. ``search``: the platform can be searched by the key, which ``create`` does first; the
    service sees to it that no two creates of one key run at once. ``none``: neither, and a create whose answer was lost
    may leave a second job."""
    results_inline: ClassVar[bool] = False
    """Whether a job's results come back in what ``get`` returns. False where the job writes them under
    ``ctx.output_prefix``: the job of an abandoned attempt is then of no use to the next one, which has another prefix.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for base in cls.__dict__.get("__orig_bases__", ()):  # not its bases' own: a subclass may name another meta
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, AsyncConnectorBase):
                meta = get_args(base)[0]
                if isinstance(meta, type):
                    if not (issubclass(meta, ResourceMeta) and is_dataclass(meta)):
                        raise TypeError(
                            f"{cls.__name__}: {meta.__name__} must be a dataclass that derives from ResourceMeta"
                        )
                    cls.meta_type = meta

    @abstractmethod
    def create(self, task: TaskTemplate, ctx: Context) -> MetaT | Awaitable[MetaT]:
        """Start the job, or find the one that was started under ``ctx.idempotency_key``. Return what finds it again.

        :raises ConnectorError: as it says; one with ``proves_no_job`` frees the key, any other is looked into by the
            next try.
        """

    @abstractmethod
    def get(self, job: MetaT, ctx: Context) -> Resource | Awaitable[Resource]:
        """The job's state now, and its outputs once it succeeded.

        A platform state that the connector does not know is RUNNING. A job that failed is a Resource too, not an error.

        :raises NotFound: the platform does not have the job (any more): the task fails.
        :raises ConnectorError: anything else is taken for a passing fault, and the last known phase goes on.
        """

    @abstractmethod
    def delete(self, job: MetaT, ctx: Context) -> Awaitable[None] | None:
        """Cancel the job. One that is over, or missing, is no error."""

    def get_logs(self, job: MetaT, ctx: Context, *, lines: int, token: str) -> LogPage | Awaitable[LogPage]:
        """A page of the job's log.

        :param lines: how many at most; 0 leaves it to the connector. :param token: of the page before, "" for the
            first.
        :raises Unimplemented: this connector has no logs.
        """
        raise Unimplemented(f"{self.task_type} has no logs")

    def get_metrics(
        self,
        job: MetaT,
        ctx: Context,
        *,
        queries: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        step: timedelta | None,
    ) -> Sequence[MetricResult] | Awaitable[Sequence[MetricResult]]:
        """The job's metrics.

        :raises Unimplemented: this connector has no metrics.
        """
        raise Unimplemented(f"{self.task_type} has no metrics")


class SyncConnectorBase(ConnectorBase):
    """A connector for calls that answer at once. ``do`` must be idempotent: it may run again under the same key."""

    @abstractmethod
    def do(self, task: TaskTemplate, ctx: Context) -> Resource | Awaitable[Resource]:
        """Carry out the call. The resource's phase is terminal.

        :raises ConnectorError: as it says.
        """


def is_blocking(method: Any) -> bool:
    """Whether a connector's method is a plain ``def``, to be run in a thread."""
    return not inspect.iscoroutinefunction(inspect.unwrap(method))
