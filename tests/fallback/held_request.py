"""A web service that is asked once, and answers when its test says so: what keeps a call to a webhook under way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["HeldRequest", "held_request"]

_PATIENCE = 60.0  # seconds; a busy machine is no fault of the service's


class HeldRequest:
    """Its methods are called in the order in which they stand here."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._asked: socket.socket | None = None
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/held"

    def wait(self) -> None:
        """Block until the request is there; it must be one without a body.

        :raises TimeoutError: it did not come.
        """
        self._asked, _ = self._listening.accept()
        self._asked.settimeout(_PATIENCE)
        received = b""
        while b"\r\n\r\n" not in received:
            more = self._asked.recv(65536)
            assert more, "the caller hung up"
            received += more

    def answer(self, body: bytes) -> None:
        """With the status 200."""
        assert self._asked is not None, "nothing was asked yet"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self._asked.sendall(head.encode() + body)

    def close(self) -> None:
        """Hang up; an answer that was given arrives nevertheless."""
        if self._asked is not None:
            self._asked.close()


@contextmanager
def held_request() -> Iterator[HeldRequest]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(_PATIENCE)
        request = HeldRequest(listening)
        try:
            yield request
        finally:
            request.close()
