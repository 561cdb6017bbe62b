"""Connections to a Redis server: so many at most, each held by one operation at a time, every wait bounded.

Of redis-py this uses the connection and its parser. Not its client and its pools: they retry by themselves, and a
caller that is cancelled while its connection is given back takes it out of the pool for good.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import cached_property
from typing import Any, Protocol, cast
from weakref import WeakValueDictionary

import anyio
from redis.asyncio import Connection, SSLConnection
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from connectors._stores.redis_address import RedisAddress
from connectors._stores.store import StoreUnavailable

__all__ = ["Connections", "Conversation", "Script", "Word", "code_of", "wire_to"]

Word = str | bytes | float
Command = tuple[Word, ...]

ANSWER_WITHIN = 2.0
"""Seconds for a whole operation, once it is its turn: the connection, which may take half of them, every question and
answer.
"""
AT_ONCE = 16
"""Connections. More are no faster, since one event loop serves them all; and many that are opened at once on a busy
machine take each other the time to connect."""
_CODES = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "OOM", "UNKILLABLE", "WRONGTYPE"})


class Wire(Protocol):
    """What is used of redis-py's connection."""

    async def connect(self) -> None: ...
    def pack_commands(self, commands: Iterable[Command]) -> list[bytes]: ...
    async def send_packed_command(self, command: list[bytes], check_health: bool = ...) -> None: ...
    async def read_response(self) -> Any: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...


class Script:
    """A Lua script, which the server runs as one atomic step and keeps until it is restarted or told to flush."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def digest(self) -> str:
        """What the server knows it by."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def wire_to(address: RedisAddress, *, connect_within: float) -> Callable[[], Wire]:
    """Makes connections, which are not opened yet.

    :param connect_within: seconds.
    """
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "socket_connect_timeout": connect_within,
        "socket_timeout": None,  # an operation has one bound, over all that it does
        "protocol": 2,  # everybody speaks it, and AUTH is not part of a longer command that a server could repeat
    }
    if not address.tls:
        return lambda: cast("Wire", Connection(**options))
    options["ssl_ca_certs"] = address.ca_file
    options["ssl_certfile"] = address.certificate_file
    options["ssl_keyfile"] = address.key_file
    shared = SSLConnection(**options).ssl_context  # to read the authorities takes tens of milliseconds

    def secured() -> Wire:
        connection = _SecuredConnection(**options)
        connection.ssl_context = shared
        return cast("Wire", connection)

    return secured


class _SecuredConnection(SSLConnection):
    """One that is gone at once.

    TLS ends with an answer of the server's, for which asyncio waits half a minute behind our back: an event loop that
    ends before would leave the socket open. Nothing is lost, since all that is wanted was answered.
    """

    async def disconnect(self, *args: Any, **options: Any) -> None:
        writer = self._writer
        await super().disconnect(*args, **options)
        if writer is not None:
            writer.transport.abort()


class Connections:
    """Opened when they are needed, and kept."""

    def __init__(
        self,
        make: Callable[[], Wire],
        name: str,
        *,
        connect_within: float,
        at_once: int = AT_ONCE,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        """:param name: the server's, for messages. :param connect_within: seconds that ``make`` gives a connection, for
        messages. :param answer_within: seconds for a whole operation.
        """
        self._make = make
        self._connect_within = connect_within
        self._answer_within = answer_within
        self._name = name
        self._turns = anyio.Semaphore(at_once, fast_acquire=True)
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._idle: list[Wire] = []
        self._hangs = 0
        """How many operations got no answer in time."""
        self._closed = False

    @asynccontextmanager
    async def open(self, alone: str | None = None) -> AsyncIterator[Conversation]:
        """One operation's conversation with the server.

        The wait for a turn is as long as the others take; where one of them gets no answer in time, those that wait
        fail with it.

        :param alone: of the operations that name the same here, one goes on at a time.
        :raises StoreUnavailable: for what goes wrong in it.
        """
        hangs = self._hangs
        try:
            async with self._alone(alone), self._turns, asyncio.timeout(self._answer_within):
                if self._hangs != hangs:
                    raise StoreUnavailable(self._fault(TimeoutError()))
                idle = self._idle.pop() if self._idle else None
                conversation = Conversation(idle or self._make(), self._make if idle else None)
                try:
                    yield conversation
                except BaseException:
                    await conversation.wire.disconnect(nowait=True)  # it may hold an answer that nobody reads any more
                    raise
                self._idle.append(conversation.wire)
                if self._closed:
                    await self._close_idle()
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._hangs += isinstance(error, TimeoutError | RedisTimeoutError)
            await self._close_idle()  # they may lead to a server that another one has replaced
            # The cause is not chained: a server may repeat the words of a command that it does not know, AUTH's too.
            raise StoreUnavailable(self._fault(error)) from None

    def _alone(self, name: str | None) -> AbstractAsyncContextManager[object]:
        if name is None:
            return nullcontext()
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = anyio.Lock(fast_acquire=True)
        return lock

    def _fault(self, error: RedisError | OSError) -> str:
        return f"the Redis store at {self._name} {self._what_happened(error)}"

    def _what_happened(self, error: RedisError | OSError) -> str:
        if isinstance(error, AuthenticationError | AuthorizationError):
            return "refuses the credentials"
        if isinstance(error, RedisConnectionError):
            return f"cannot be reached: {error}"
        if isinstance(error, RedisTimeoutError):  # nothing else has a bound of redis-py's
            return f"cannot be reached: no connection within {self._connect_within:g} s"
        if isinstance(error, TimeoutError):
            return f"did not answer within {self._answer_within:g} s"
        if isinstance(error, OSError):
            return f"cannot be reached: {error.strerror or type(error).__name__}"
        return f"refuses to work now: {code_of(error)}"

    async def aclose(self) -> None:
        """Close what is idle, and the rest when its operation is over."""
        self._closed = True
        await self._close_idle()

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for wire in idle:
            await wire.disconnect(nowait=True)


class Conversation:
    """Questions and their answers, over one connection.

    What is asked first may be asked twice: a server closes connections that are idle, which shows only when they are
    used. Let that be something that changes nothing when it is repeated.
    """

    def __init__(self, wire: Wire, make: Callable[[], Wire] | None) -> None:
        """:param make: for a connection that was idle: makes one in its place."""
        self.wire = wire
        self._make = make

    async def exchange(self, *commands: Command) -> list[Any]:
        """The answers, in one round trip. Errors that the server answered are among them."""
        make, self._make = self._make, None
        try:
            return await self._exchange(commands)
        except (RedisConnectionError, OSError):
            if make is None:
                raise
            await self.wire.disconnect(nowait=True)
            self.wire = make()
            return await self._exchange(commands)

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        wire = self.wire
        await wire.connect()  # at once where it is
        await wire.send_packed_command(wire.pack_commands(commands), check_health=False)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await wire.read_response())
            except ResponseError as error:
                answers.append(error)
        return answers

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers, in one round trip.

        :raises ResponseError: the first error among them.
        """
        return _without_errors(await self.exchange(*commands))

    async def run(self, script: Script, keys: Sequence[str], *values: Word) -> Any:
        """What a script answers."""
        [answer] = await self.run_each(script, [(keys, values)])
        return answer

    async def run_each(self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Word]]]) -> list[Any]:
        """What a script answers to each call, in one round trip; each call is a step of its own."""
        commands: list[Command] = [("EVALSHA", script.digest, len(keys), *keys, *values) for keys, values in calls]
        answers = await self.exchange(*commands)
        if any(isinstance(answer, NoScriptError) for answer in answers):  # the server was restarted, or told to flush
            await self.ask(("SCRIPT LOAD", script.text))
            again = iter(
                await self.exchange(
                    *(each for each, answer in zip(commands, answers, strict=True) if isinstance(answer, NoScriptError))
                )
            )
            answers = [next(again) if isinstance(answer, NoScriptError) else answer for answer in answers]
        return _without_errors(answers)


def _without_errors(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers


def code_of(error: RedisError) -> str:
    """The word that an error of the server's begins with, such as NOREPLICAS; redis-py's name for those it knows."""
    if type(error) is not ResponseError:
        return type(error).__name__
    first = str(error).partition(" ")[0]
    return first if first in _CODES else "ERR"  # redis-py takes an ERR away
