"""One connection to PostgreSQL that asks one question at a time, over psycopg's binding of libpq.

psycopg's own cursors are not used: on a cancelled question they ask the server to cancel it too and wait for seconds;
here the connection is closed at once, so that no answer can reach another caller. A statement is neither named nor kept
on the server, so that a pooler may give each one to another session.
"""

from __future__ import annotations

import asyncio
import select
from typing import NamedTuple

import psycopg
from psycopg import pq

__all__ = ["Link", "LinkLost", "Row", "ServerError", "Value"]

Value = str | bytes | float | int | bool | None
"""A parameter. bytes are a ``bytea``; everything else is written as text, and the statement says what it is."""
Row = tuple[bytes | None, ...]
"""Values as PostgreSQL writes them as text."""


class LinkLost(Exception):
    """The connection broke. Whether what was sent was carried out is not known."""


class ServerError(Exception):
    """PostgreSQL refused a statement, which had no effect."""

    def __init__(self, sqlstate: str, message: str) -> None:
        """:param sqlstate: five characters: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
        super().__init__(message)
        self.sqlstate = sqlstate


class _Wire(NamedTuple):
    data: bytes | None
    format: pq.Format


def _wire(value: Value) -> _Wire:
    if value is None or isinstance(value, bytes):
        return _Wire(value, pq.Format.BINARY)
    if isinstance(value, str):
        return _Wire(value.encode(), pq.Format.TEXT)
    return _Wire(repr(value).encode(), pq.Format.TEXT)


class Link:
    """Not to be shared: a question may be asked when the last one was answered."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        """:param connection: open, and not used by anybody else."""
        self._connection = connection  # it closes when it is collected
        self._libpq = connection.pgconn
        self._socket = self._libpq.socket
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._lost: str | None = None
        self._loop.add_reader(self._socket, self._on_readable)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    @classmethod
    async def open(cls, conninfo: str) -> Link:
        """A new connection, within the ``connect_timeout`` of the connection string for each of the server's addresses.

        :raises psycopg.OperationalError: why not, in libpq's words.
        """
        return cls(await psycopg.AsyncConnection.connect(conninfo, autocommit=True))

    @property
    def usable(self) -> bool:
        """False once it is closed or lost."""
        return self._lost is None

    def hear(self) -> None:
        """Hear what the server said while it was not asked: its goodbye, as a rule."""
        while self._lost is None and self._poll.poll(0):
            self._on_readable()

    @property
    def server_version(self) -> int:
        """120004 is 12.4."""
        return self._libpq.server_version

    def close(self) -> None:
        """At once, whatever it is doing. May be called again."""
        self._lose("the connection was closed")

    async def ask(self, statement: str, *values: Value) -> list[Row]:
        """One statement with its ``$1``, ``$2`` …, in a transaction of its own unless one was begun.

        Where this ends otherwise than by an answer or a :class:`ServerError`, the link is closed.

        :raises ServerError: the server refused it. :raises LinkLost: the connection broke, or was closed.
        """
        if self._lost is not None:
            raise LinkLost(self._lost)
        wires = [_wire(value) for value in values]
        try:
            self._libpq.send_query_params(
                statement.encode(),
                [wire.data for wire in wires],
                param_formats=[wire.format for wire in wires],
            )
            await self._send()
            result = await self._receive()
        except psycopg.Error as error:
            self._lose(str(error))
            raise LinkLost(str(error)) from error
        except BaseException:
            self.close()
            raise
        if result.status in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
            width = range(result.nfields)
            return [tuple(result.get_value(row, column) for column in width) for row in range(result.ntuples)]
        sqlstate = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"no reason was given"
        raise ServerError(sqlstate.decode(errors="replace"), message.decode(errors="replace"))

    async def _send(self) -> None:
        if not self._libpq.flush():
            return
        # more than the socket takes at once: https://www.postgresql.org/docs/current/libpq-async.html
        self._loop.add_writer(self._socket, self._wake)
        try:
            while self._libpq.flush():
                await self._event()
        finally:
            if self.usable:
                self._loop.remove_writer(self._socket)

    async def _receive(self) -> pq.abc.PGresult:
        answer: pq.abc.PGresult | None = None
        while True:
            while self._libpq.is_busy():
                await self._event()
            result = self._libpq.get_result()
            if result is None:  # only now may the next question be asked
                if answer is None:
                    raise LinkLost("the server gave no answer")
                return answer
            answer = answer or result

    async def _event(self) -> None:
        """Wait until the socket has been read from, or can be written to."""
        if self._lost is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._lost is not None:
            raise LinkLost(self._lost)

    def _on_readable(self) -> None:
        try:
            self._libpq.consume_input()
        except psycopg.Error as error:
            self._lose(str(error))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _lose(self, why: str) -> None:
        if self._lost is None:
            self._lost = why
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._libpq.finish()
            self._wake()
