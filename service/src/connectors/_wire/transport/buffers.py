"""How much of unfinished requests and unread answers is held in memory, by connection and in all.

Flow control cannot bound it: messages in progress on many streams share one connection's window, and would wait for
each other for ever if they held it. So they are let in, counted here, and refused when they are too many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from connectors._wire.status import Status
from connectors._wire.transport.limits import Limits
from connectors._wire.transport.refusal import Reason, Refusal

Refuse: TypeAlias = Callable[[Refusal], None]
"""Ends one call. It stands for the call in the counts, so it has to be the same object each time."""


class Buffers:
    """What all connections of one server hold.

    Over the bound, the connection that holds the most loses a call: whoever fills the server pays for it, and not the
    next caller.
    """

    def __init__(self, limits: Limits) -> None:
        self.held = 0
        self.most, self.most_of_connection = limits.buffered_bytes()
        self._connections: set[ConnectionBuffers] = set()

    def moved(self, connection: ConnectionBuffers, grown: int) -> None:
        """``connection`` holds ``grown`` bytes more than before, or fewer."""
        self.held += grown
        if connection.held:
            self._connections.add(connection)
        else:
            self._connections.discard(connection)

    def relieve(self) -> None:
        """Ends calls until what is held is within the bound."""
        while self.held > self.most:
            heaviest = max(self._connections, key=lambda connection: connection.held)
            heaviest.refuse_newest(f"the server holds over {self.most} bytes of unfinished requests and unread answers")


class ConnectionBuffers:
    """What one connection holds."""

    def __init__(self, shared: Buffers) -> None:
        self.held = 0
        self._shared = shared
        self._sizes: dict[Refuse, int] = {}

    def hold(self, call: Refuse, size: int) -> None:
        """``call`` holds ``size`` bytes from now on. May end calls, this one among them."""
        grown = size - self._sizes.get(call, 0)
        if not grown:
            return
        if size:
            self._sizes[call] = size
        else:
            self._sizes.pop(call, None)
        self._moved(grown)
        if grown > 0:
            most = self._shared.most_of_connection
            while self.held > most:
                self.refuse_newest(f"the connection holds over {most} bytes of unfinished requests and unread answers")
            self._shared.relieve()

    def refuse_newest(self, why: str) -> None:
        """Ends the call that began to hold anything last: those before it are nearer to their end."""
        refuse, size = self._sizes.popitem()
        self._moved(-size)
        refuse(Refusal(Status.RESOURCE_EXHAUSTED, Reason.BUFFERS_FULL, why))

    def _moved(self, grown: int) -> None:
        self.held += grown
        self._shared.moved(self, grown)
