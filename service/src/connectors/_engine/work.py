"""A create or a ``do`` that was admitted: all that carrying it out needs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from connectors._engine.admission import Slot
from connectors._engine.requests import CreateRequest
from connectors._registry import Registered

__all__ = ["Work"]


@dataclass(frozen=True)
class Work:
    """Carried out once; ``slot`` is given back when it ends."""

    registered: Registered
    request: CreateRequest
    key: str
    fingerprint: str
    """Of the request, where its caller chose the key; else ""."""
    slot: Slot
    owner: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Who holds the key in the store while this is carried out."""

    @property
    def task_type(self) -> str:
        """The task type's name."""
        return self.request.category.name
