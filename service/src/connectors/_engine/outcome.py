"""How a call ends: the one table from errors to gRPC status names, and the errors that the engine itself raises."""

from __future__ import annotations

import logging
import secrets

from connectors import errors

__all__ = ["AdmissionRefused", "AnsweredElsewhere", "ConnectorBug", "bug", "status_of"]

log = logging.getLogger("connectors.engine")


class AdmissionRefused(errors.ConnectorError):
    """Too many calls to this connector are under way; try again later."""

    proves_no_job = True


class AnsweredElsewhere(errors.ConnectorError):
    """Another service, which the call was passed on to, answered with a status other than OK."""

    def __init__(self, message: str, *, status: str) -> None:
        """:param status: the gRPC status's name."""
        super().__init__(message)
        self.status = status


class ConnectorBug(errors.ConnectorError):
    """The connector failed in a way that it does not declare."""

    def __init__(self, message: str, *, error_id: str) -> None:
        super().__init__(message)
        self.error_id = error_id


_STATUS: dict[type[errors.ConnectorError], str] = {
    errors.InvalidRequest: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.FailedPrecondition: "FAILED_PRECONDITION",
    errors.Conflict: "ALREADY_EXISTS",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.PermissionDenied: "PERMISSION_DENIED",
    errors.RateLimited: "RESOURCE_EXHAUSTED",
    errors.Unavailable: "UNAVAILABLE",
    errors.DeadlineExceeded: "DEADLINE_EXCEEDED",
    errors.Unimplemented: "UNIMPLEMENTED",
    AdmissionRefused: "RESOURCE_EXHAUSTED",
    ConnectorBug: "INTERNAL",
    errors.ConnectorError: "UNKNOWN",
}


def status_of(error: errors.ConnectorError) -> str:
    """The gRPC status that an error means (https://grpc.io/docs/guides/status-codes/). A class of a plugin's own counts
    as the nearest of its bases.
    """
    if isinstance(error, AnsweredElsewhere):
        return error.status
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def bug(task_type: str, operation: str, error: BaseException) -> ConnectorBug:
    """Log what a connector raised without declaring it, and make the error for the caller, who is given its id
    alone.
    """
    error_id = secrets.token_hex(6)
    log.error("%s failed in %s, error id %s", task_type, operation, error_id, exc_info=error)
    made = ConnectorBug(
        f"the connector of {task_type} failed in {operation}; the server's log has error id {error_id}",
        error_id=error_id,
    )
    made.__cause__ = error
    return made
