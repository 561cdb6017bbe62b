"""A task's ``custom``, as a workflow's author writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Self

from connectors import InvalidRequest

__all__ = ["AcmeConfig"]

_OF_THE_BACKEND = frozenset({"secrets", "configs"})  # what Flyte 2 adds


@dataclass(frozen=True, kw_only=True)
class AcmeConfig:
    """What is to be run, and how.

    ``TaskTemplate("acme", custom=AcmeConfig(…).to_custom())``

    :raises ValueError: a field is not as it should be; the message names it.
    """

    program: str
    """What is to be run."""

    timeout: int = 3600
    """Seconds that it may take, above 0."""

    def __post_init__(self) -> None:
        if not isinstance(self.program, str) or not self.program:
            raise ValueError("program: must be the name of a program")
        if not isinstance(self.timeout, int) or isinstance(self.timeout, bool) or self.timeout <= 0:
            raise ValueError("timeout: must be a whole number of seconds above 0")

    def to_custom(self) -> dict[str, Any]:
        """The task's ``custom``."""
        return asdict(self)

    @classmethod
    def of(cls, custom: Mapping[str, Any]) -> Self:
        """What a task's ``custom`` says.

        :raises InvalidRequest: a key is unknown or missing, or its value is not as it should be.
        """
        known = {field.name: field.default for field in fields(cls)}
        given = {key: value for key, value in custom.items() if key not in _OF_THE_BACKEND}
        for key in given:
            if key not in known:
                raise InvalidRequest(f"custom.{key[:80]} is not known; expected {', '.join(known)}")
        for key, default in known.items():
            if default is MISSING and key not in given:
                raise InvalidRequest(f"custom.{key} is missing")
        try:
            return cls(**given)
        except ValueError as error:
            raise InvalidRequest(f"custom.{error}") from error
