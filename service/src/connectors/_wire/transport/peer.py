"""Who is at the other end of a connection."""

from __future__ import annotations

import asyncio


def address_of(transport: asyncio.BaseTransport) -> str:
    """The peer's address; "unknown" where the socket is gone already."""
    return as_text(transport.get_extra_info("peername"))


def as_text(place: object) -> str:
    """A socket's address: `127.0.0.1:5000` or `[::1]:5000`."""
    if not isinstance(place, tuple) or len(place) < 2:
        return "unknown"
    host, port = place[0], place[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
