"""What can go wrong in a connector, as classes that say what they are.

A connector raises one of these; the engine retries what is retryable and the wire chooses the gRPC status in one table.
The message is shown to the caller of the RPC, so it must be fit for a stranger: name the wrong thing, say what was
expected, hold no secret and no traceback. The platform's own exception is chained (``raise ... from error``) and goes
to the log alone.

Anything else that a connector raises is a bug: the caller gets INTERNAL with an error id, the log gets the traceback.
"""

from __future__ import annotations

import math
from typing import ClassVar

__all__ = [
    "Conflict",
    "ConnectorError",
    "DeadlineExceeded",
    "FailedPrecondition",
    "InvalidRequest",
    "KeyTaken",
    "NotFound",
    "PermissionDenied",
    "RateLimited",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]


class ConnectorError(Exception):
    """The connector could not carry out the call.

    The class's docstring, to its first full stop, is the message where none is given.
    """

    retryable: ClassVar[bool] = False
    """Whether the same request may succeed when it is sent again."""

    proves_no_job: ClassVar[bool] = False
    """Whether this error, raised by ``create``, proves that the platform made no job. Only then may the key be used
    anew; after any other error the next try looks for the job first."""

    retry_denied: bool = False
    """Set by the engine: the call would have been made again, but its connector's retry budget was spent."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        """:param message: for the caller. :param retry_after: seconds that the platform asked to be left alone, 0 or
        more.
        """
        text = message or (self.__doc__ or type(self).__name__).split(".")[0].strip()
        super().__init__(text)
        self.message = text
        self.retry_after = retry_after if retry_after is not None and 0 <= retry_after < math.inf else None


class InvalidRequest(ConnectorError):
    """The request cannot be carried out as it is."""

    proves_no_job = True


class NotFound(ConnectorError):
    """The thing that was asked for does not exist."""

    proves_no_job = True


class FailedPrecondition(ConnectorError):
    """Something must be set up before this call can succeed."""

    proves_no_job = True


class Conflict(ConnectorError):
    """The platform holds something else under this name."""


class KeyTaken(Conflict):
    """The platform holds another job under this idempotency key.

    Raised by ``create`` where the job that it found under its key is not to be taken for this create's
    (:meth:`connectors.Context.may_adopt`): the create goes on under the key of the next generation.
    """


class Unauthenticated(ConnectorError):
    """The platform did not accept the credentials."""

    proves_no_job = True


class PermissionDenied(ConnectorError):
    """The credentials do not allow this."""

    proves_no_job = True


class RateLimited(ConnectorError):
    """The platform is limiting its callers."""

    retryable = True
    proves_no_job = True


class Unavailable(ConnectorError):
    """The platform cannot be reached, or cannot answer now."""

    retryable = True


class DeadlineExceeded(ConnectorError):
    """The call did not end before its deadline."""


class Unimplemented(ConnectorError):
    """This connector does not offer that operation."""

    proves_no_job = True
