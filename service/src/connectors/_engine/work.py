"""A create or a ``do`` that was admitted: all that carrying it out needs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import cast

from connectors._engine.admission import Slot
from connectors._engine.identity import Run
from connectors._engine.requests import CreateRequest
from connectors._registry import Registered
from connectors.connector import AsyncConnectorBase, ResourceMeta

__all__ = ["Work"]

_PROCESS = str(uuid.uuid4())
_numbers = count()


def _new_owner() -> str:
    return f"{_PROCESS}/{next(_numbers)}"


@dataclass(slots=True, eq=False)  # nobody changes one; to have that refused takes three times as long
class Work:
    """Carried out once; ``slot`` is given back when it ends."""

    registered: Registered
    request: CreateRequest
    key: str
    fingerprint: str
    """Of the request, where its caller chose the key; else ""."""
    slot: Slot
    run: Run | None = None
    """What a create is of; None for a ``do``."""
    generation: int = 0
    subject: Mapping[str, str] | None = None
    """Whose job it is, for the ledger; None for a ``do``."""
    owner: str = field(default_factory=_new_owner)
    """Who holds the key in the store while this is carried out."""

    @property
    def task_type(self) -> str:
        """The task type's name."""
        return self.request.category.name

    @property
    def connector(self) -> AsyncConnectorBase[ResourceMeta]:
        """A create's."""
        return cast("AsyncConnectorBase[ResourceMeta]", self.registered.connector)

    def at(self, generation: int) -> Work:
        """The same work under the key of a generation of its run."""
        assert self.run is not None  # noqa: S101 - creates alone have generations
        return replace(self, key=self.run.key_of(generation), generation=generation)
