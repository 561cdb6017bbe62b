"""The other service, as the wire sees it, and which headers go on to it and back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from connectors.errors import Unavailable

__all__ = ["PASSED_ON", "Headers", "Other", "Reply", "Unreachable", "metadata_of"]

Headers = Sequence[tuple[bytes, bytes]]

PASSED_ON = "connectors-passed-on"
"""The metadata of a call that was passed on once. It is not passed on again: two services that are each other's
fallback would never end."""

# What is said between two ends of one connection (RFC 9110, section 7.6.1), and gRPC's own words about one message
# stream, which each end of each connection writes for itself. Other names that begin with grpc- are the caller's.
_OF_ONE_HOP = frozenset(
    b"connection content-length content-type grpc-accept-encoding grpc-encoding grpc-message grpc-status grpc-timeout "
    b"host keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade".split()
)


class Unreachable(Unavailable):
    """The fallback service cannot be reached."""


class Reply(Protocol):
    """Takes an answer as it comes."""

    def initial(self, headers: Headers) -> None:
        """What came before the first message; not called where there is no message."""

    async def message(self, data: bytes) -> None:
        """One message."""


class Other(Protocol):
    """Another connector service."""

    @property
    def address(self) -> str:
        """``host:port``."""

    async def call(
        self, path: str, metadata: Headers, requests: AsyncGenerator[bytes, None], reply: Reply, *, until: float
    ) -> Headers:
        """Make one call; returns the trailers, ``grpc-status`` among them.

        :param path: ``/package.Service/Method``.
        :param requests: the messages; when it ends, the call is half-closed.
        :param until: an instant on the event loop's clock.
        :raises Unreachable: there is no connection, or it broke off.
        :raises connectors.DeadlineExceeded: there was no answer by ``until``.
        """


def metadata_of(headers: Headers) -> Headers:
    """What of these headers is for the other end, and not for this connection alone."""
    return [(name, value) for name, value in headers if not name.startswith(b":") and name.lower() not in _OF_ONE_HOP]
