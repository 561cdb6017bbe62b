"""Faults behind an answer: the engine answers a poll with the last known phase where the platform cannot be asked, and
names the fault beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.models import Resource

__all__ = ["HiddenFault", "fault_of"]


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
