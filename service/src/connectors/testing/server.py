"""A whole connector service in a test's own process and event loop: real gRPC bytes, both protocols, records in memory.

For what the contract suite leaves out: that the engine, the wire and the settings agree with a connector::

    from connectors.testing.server import ConnectorServer

    async with ConnectorServer(AcmeConnector(AcmeSettings(endpoint=acme.url))) as server, server.client() as client:
        meta = await client.create(task, {"count": 3})
        job = await client.get(TaskCategory("acme"), meta)

It needs no pytest; ``connectors.testing.fixtures`` has it as a fixture. It reads no configuration file, and no variable
but plugins' own.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from connectors._registry import Registered, Registry
from connectors._server.discovery import discover
from connectors._server.server import Addresses, Server
from connectors._server.starting import StartError
from connectors._settings import Settings, SettingsError
from connectors.client import ConnectorClient
from connectors.connector import AsyncConnectorBase, SyncConnectorBase
from connectors.models import TaskCategory

__all__ = ["ConnectorServer"]

_GRACE = 5.0  # seconds for what is in flight at the end
_OF_A_TEST: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 0,
    "metrics_port": 0,
    "store": "memory://",
    "strict_plugins": True,
    "grace": _GRACE,
}


class ConnectorServer:
    """A server on free ports of this machine; use it as an asynchronous context.

    It is the server that ``connectors serve`` starts, but for the process around it.
    """

    def __init__(self, *connectors: AsyncConnectorBase[Any] | SyncConnectorBase, **settings: Any) -> None:
        """:param connectors: what it serves, started and closed with it. None: the installed plugins, as the command
            finds them; ``allow_plugins=["acme"]`` and ``plugins={"acme": {"endpoint": acme.url}}`` say which, and how.

        :param settings: the server's, by field: ``lease=2.0``, ``key_namespace="b"``, ``store="sqlite:///…"`` where two
            servers are to share it. What is left out has its default, but for what a test wants otherwise: free ports,
            records in memory, and a plugin that cannot be loaded is an error.
        :raises ValueError: a setting is none, or is not as it must be.
        """
        try:
            self._settings = _Given(**{**_OF_A_TEST, **settings})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        self._connectors = connectors
        self._server: Server | None = None
        self._addresses: Addresses | None = None

    @property
    def address(self) -> str:
        """Where gRPC is served, as ``host:port``."""
        return self._started.grpc

    @property
    def metrics(self) -> str:
        """Where /metrics, /healthz and /readyz are served over HTTP, as ``host:port``."""
        return self._started.metrics

    def client(self, protocol: Literal["flyte1", "flyte2"] = "flyte1") -> ConnectorClient:
        """A backend's client to it: an asynchronous context itself."""
        return ConnectorClient(self.address, protocol)

    @property
    def _started(self) -> Addresses:
        if self._addresses is None:
            raise RuntimeError("use the server as an asynchronous context: async with ConnectorServer(…) as server")
        return self._addresses

    async def __aenter__(self) -> Self:
        """:raises RuntimeError: it cannot be started; the message is what an operator would read."""
        try:
            server = Server(self._settings, self._registry())
        except SettingsError as error:
            raise RuntimeError("; ".join(error.problems)) from error
        try:
            self._addresses = await server.start()
        except BaseException as error:
            await server.aclose()
            if isinstance(error, StartError):
                raise RuntimeError(str(error)) from error
            raise
        self._server = server
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server, self._addresses = self._server, None, None
        if server is None:
            return
        try:
            await server.drain(self._settings.grace)
        finally:
            await server.aclose()

    def _registry(self) -> Registry:
        if not self._connectors:
            return discover(self._settings)
        return Registry(_registered(each) for each in self._connectors if each.is_wanted)


def _registered(connector: AsyncConnectorBase[Any] | SyncConnectorBase) -> Registered:
    return Registered(
        connector,
        TaskCategory(connector.task_type, connector.task_type_version),
        plugin=connector.task_type,
        distribution="",
        distribution_version="",
        kind="sync" if isinstance(connector, SyncConnectorBase) else "async",
    )


class _Given(Settings):
    """What a test says, and nothing from around it."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments alone."""
        return (init_settings,)
