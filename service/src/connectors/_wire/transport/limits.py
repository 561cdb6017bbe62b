"""What one server accepts, and how much of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

MESSAGE_OVERHEAD_BYTES = 64
"""Counted for each message beside its bytes: what Python needs to hold it, which is most of a message of one byte."""

BACKLOG = 1024
"""Connections that the kernel may hold while the loop is busy; callers that dial anew for each call come in bursts."""

LINGER_S = 1.0
"""How long a client may take to close a connection that is over. A socket closed while its peer still sends is reset,
and a reset can destroy the last answers on their way."""


FRAMES_AT_ONCE = 24
"""Frames of one connection that are handled between two turns of the event loop: the others have their turn too."""
H2_FRAMES = 4
"""What one counts among them that goes through h2, which takes so much longer for it."""

FLOOD_BURST, FLOOD_PER_SECOND = 2000.0, 200.0
"""Frames beside calls that a client may send at once, and that it may send for ever; see `gate.py`."""
SETTINGS_COST = 20.0
"""What SETTINGS counts among them: each moves the window of every open stream."""
SMALL_DATA_BYTES = 64
"""DATA smaller than this that does not end its stream counts as one of them."""
FREE_FRAME_BYTES = 1024
"""A frame of this size or more costs its sender as much as the server, and does not count."""
MAX_SETTINGS = 64
"""Settings in one frame, and of one client in all, known ones and others: each is kept as long as the connection."""

EARLY_RESET_S = 1.0
"""A stream that is reset within this time counts as reset early. A caller that gives up has waited longer."""
RESET_BURST, RESETS_PER_SECOND = 1000.0, 50.0
"""Streams that a client may reset early at once, as many as it may have open, and for ever in each second. An answer
makes up for one."""

CLOSED_STREAMS = 2048
"""Streams of a connection that are remembered after their end, for frames that were on their way."""

AGE_SPREAD = 0.1
"""By how much of it the age of a connection varies: what connected at the same time does not come back at one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what callers may send, and how slowly. :raises ValueError: one is not above 0."""

    max_message_bytes: int = 4 * 1024 * 1024
    """The largest request message in bytes, before and after decompression; 4 MiB is gRPC's own default."""
    max_concurrent_streams: int = 1000
    """Calls open at once on one connection (SETTINGS_MAX_CONCURRENT_STREAMS)."""
    max_header_list_bytes: int = 16 * 1024
    """A request's headers in bytes, counted as RFC 9113 section 6.5.2 does: 32 bytes added for each."""
    max_connections: int = 10_000
    """Connections open at once."""
    handshake_timeout: float = 10.0
    """Seconds that a client has for its TLS handshake, and then for the beginning of HTTP/2."""
    max_connection_age: float = math.inf
    """Seconds, more or less by :data:`AGE_SPREAD`, after which a client is asked to connect anew. Callers hold few
    connections and hold them long: without an end to them a server that is added gets no calls."""
    max_connection_age_grace: float = 120.0
    """Seconds that the calls of such a connection then have to end in."""
    receive_timeout: float = 60.0
    """Seconds from a call's headers in which its request has to arrive, whatever the caller's own deadline. A handler
    that no longer waits for a message has its request. On a stream that is endless on both sides each message has this
    long, so that it ends once it is silent: nothing else bounds how many one client may hold."""
    send_timeout: float = 60.0
    """Seconds in which a caller has to take a message that is sent to it, and a client what was written to it."""
    max_buffered_bytes: int = 256 * 1024 * 1024
    """What all connections together may hold of requests that have not reached their handlers whole, in bytes after
    decompression, and of answers that are not read. Raised to two messages of the largest size where those are more."""
    max_buffered_bytes_per_connection: int = 64 * 1024 * 1024
    """The same for one connection. A client has one for all its calls, so this leaves room for a burst of them."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} must be above 0")

    def buffered_bytes(self) -> tuple[int, int]:
        """The two bounds on what is held: of the server, and of a connection.

        Never less than two messages, the most that a request of Flyte has, so that one call alone always fits.
        """
        least = 2 * (self.max_message_bytes + MESSAGE_OVERHEAD_BYTES)
        return max(self.max_buffered_bytes, least), max(self.max_buffered_bytes_per_connection, least)
