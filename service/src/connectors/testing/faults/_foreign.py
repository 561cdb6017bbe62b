"""A host that no connector may be led to."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["ForeignHost"]


class ForeignHost:
    """A listener on a port of this machine which closes each connection, and counts them. Use it as an asynchronous
    context.
    """

    def __init__(self) -> None:
        self.connections = 0
        """How many came."""
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def address(self) -> str:
        """``localhost:<port>``: another name than ``127.0.0.1``, on which the platform of a test is."""
        return f"localhost:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._count, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()
