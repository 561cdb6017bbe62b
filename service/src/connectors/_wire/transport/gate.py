"""What a client may send beside its calls: frames are counted before HTTP/2 handles them.

A frame of nine bytes costs a server many times what it costs the one who sends it, and HTTP/2 sets no bound on most
kinds: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, empty DATA, CONTINUATION, kinds that nobody knows
(CVE-2019-9511 to 9518, CVE-2024-27316), and streams that are reset as soon as they are opened (CVE-2023-44487, and
CVE-2025-8671, where the server is made to reset them). So each kind is paid for out of an allowance, which calls that
are answered fill again: a client that works has more than it needs, whatever its pace.
"""

from __future__ import annotations

import asyncio

from connectors._wire.transport.limits import (
    FLOOD_BURST,
    FLOOD_PER_SECOND,
    FREE_FRAME_BYTES,
    MAX_SETTINGS,
    RESET_BURST,
    RESETS_PER_SECOND,
    SETTINGS_COST,
    SMALL_DATA_BYTES,
)
from connectors._wire.transport.refusal import Reason

_SETTING_BYTES = 6
_DATA, _HEADERS, _SETTINGS = 0x0, 0x1, 0x4
_END_STREAM = _ACK = 0x1

FRAMES_FOR_A_CALL = 8
"""What an answer adds to the allowance: the PING, WINDOW_UPDATE and small DATA frames that go with a call."""
FRAMES_FOR_DATA = 4
"""What a DATA frame adds that the server sends: clients confirm it by WINDOW_UPDATE, and time it by PING."""


class Flood(Exception):
    """A client sends what no caller sends. The connection is to be closed with ENHANCE_YOUR_CALM."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Allowance:
    """A token bucket on the event loop's clock. It begins full. It looks at the clock only when it is empty, so that
    what may be taken at once is up to twice what it holds.
    """

    __slots__ = ("_left", "_loop", "_most", "_per_second", "_since")

    def __init__(self, most: float, per_second: float) -> None:
        self._most = most
        self._per_second = per_second
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._left = most

    def spend(self, cost: float) -> bool:
        """Takes ``cost``; False where there is not so much."""
        if self._left < cost:
            now = self._loop.time()
            self.add((now - self._since) * self._per_second)
            self._since = now
            if self._left < cost:
                return False
        self._left -= cost
        return True

    def add(self, amount: float) -> None:
        """Gives back; never more than it held at first."""
        left = self._left + amount
        self._left = left if left < self._most else self._most


class Gate:
    """Knows the frames of one connection by their headers. HTTP/2 itself is not its business."""

    def __init__(self) -> None:
        self._frames = Allowance(FLOOD_BURST, FLOOD_PER_SECOND)
        self._resets = Allowance(RESET_BURST, RESETS_PER_SECOND)

    def admit(self, size: int, kind: int, flags: int, *, over: bool) -> None:
        """Counts a frame. :param over: it belongs to a stream that is over. :raises Flood: there are too many."""
        # Streams that are open are bounded, and those that are reset are counted: what opens and ends one is free.
        if not over and (kind == _HEADERS or (kind == _DATA and flags & _END_STREAM)):
            return
        cost = 1.0
        if kind == _SETTINGS:
            if size > MAX_SETTINGS * _SETTING_BYTES:
                raise Flood(Reason.FLOOD, f"more than {MAX_SETTINGS} settings at once")
            cost = 1.0 if flags & _ACK else SETTINGS_COST
        elif size >= FREE_FRAME_BYTES or (kind == _DATA and size >= SMALL_DATA_BYTES):
            return
        if not self._frames.spend(cost):
            raise Flood(Reason.FLOOD, f"too many frames beside calls, the last of type {kind}")

    def answered(self) -> None:
        """A call was answered."""
        self._frames.add(FRAMES_FOR_A_CALL)
        self._resets.add(1)

    def sent_data(self) -> None:
        """A DATA frame left."""
        self._frames.add(FRAMES_FOR_DATA)

    def reset_early(self) -> None:
        """A stream was reset soon after it was opened. :raises Flood: too many were."""
        if not self._resets.spend(1):
            raise Flood(Reason.RAPID_RESET, "streams are reset as soon as they are opened")
