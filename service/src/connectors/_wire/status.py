"""The gRPC statuses, and the exception that carries one to a caller."""

from __future__ import annotations

import enum
from collections.abc import Sequence


class Status(enum.IntEnum):
    """A gRPC status code (https://grpc.io/docs/guides/status-codes/)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class StatusError(Exception):
    """Ends a call with a status other than OK.

    ``message`` reaches the caller as it stands, so it must be fit for strangers: no traceback, no secret, no address
    of ours.
    """

    def __init__(self, status: Status, message: str, *, trailers: Sequence[tuple[bytes, bytes]] | None = None) -> None:
        """:param trailers: what is written beside the status, where another service gave it: `grpc-message` as that one
        encoded it, and the metadata that came with it.
        """
        if status is Status.OK:
            raise ValueError("a StatusError needs a status other than OK")
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message
        self.trailers = trailers
