"""What one server accepts, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what callers may send. All are whole numbers of at least 1; :raises ValueError: for anything less."""

    max_message_bytes: int = 4 * 1024 * 1024
    """The largest request message in bytes, before and after decompression; 4 MiB is gRPC's own default."""
    max_concurrent_streams: int = 1000
    """Calls open at once on one connection (SETTINGS_MAX_CONCURRENT_STREAMS)."""
    max_header_list_bytes: int = 16 * 1024
    """A request's headers in bytes, counted as RFC 9113 section 6.5.2 does: 32 bytes added for each."""
    max_connections: int = 10_000
    """Connections open at once."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} must be at least 1")
