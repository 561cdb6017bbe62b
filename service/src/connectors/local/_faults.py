"""Faults behind an answer: the engine answers a poll with the last known phase where the platform cannot be asked, and
names the fault beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.errors import ConnectorError
from connectors.models import Resource

__all__ = ["HiddenFault", "fault_of", "without_inner_frames"]


@dataclass(frozen=True)
class HiddenFault:
    """Why a poll had no answer of the platform's."""

    status: str
    """The gRPC status's name that stands for it."""
    message: str


def fault_of(resource: Resource) -> HiddenFault | None:
    """The fault that this answer to a poll stands for; None where the platform gave it."""
    told = (resource.custom_info or {}).get("fault")
    if resource.phase.is_terminal or not isinstance(told, Mapping):
        return None
    status, message = told.get("status"), told.get("message")
    # a connector may have a word of the same name for something else; the engine's is the message, too
    if not isinstance(status, str) or not isinstance(message, str) or message != resource.message:
        return None
    return HiddenFault(status, message or status)


def without_inner_frames(error: ConnectorError) -> ConnectorError:
    """The error as a script's author has use for it: the line that matters would stand below a hundred of the event
    loop's and the engine's. Its cause stays, with its frames where it is a connector's bug, whose place they tell.
    """
    cause = error.__cause__
    if cause is not None and not getattr(error, "error_id", ""):
        cause.__traceback__ = None
        cause.__suppress_context__ = True
    error.__suppress_context__ = True
    return error.with_traceback(None)
