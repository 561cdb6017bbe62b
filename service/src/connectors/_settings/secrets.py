"""``[secrets.<plugin>]``: which secrets a plugin may read, and under which names a project's are kept."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.errors import InvalidRequest
from connectors.secrets import check_name, name_and_key

__all__ = ["SecretsOfPlugin"]

_PATTERN = re.compile(r"[A-Za-z0-9_.*?-]{1,253}")
_PLACE = re.compile(r"[^\s*/]+(/[^\s*/]+)?|\*/[^\s*/]+")


class SecretsOfPlugin(BaseModel):
    """The operator's word on one plugin's secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...] = ()
    """That it may read beside its own; ``*`` and ``?`` are wildcards."""
    projects: dict[str, dict[str, str]] = Field(default_factory=dict)
    """By ``project``, ``project/domain`` or ``*/domain``: the name, or ``name/key``, of the secret to use for a name.
    """

    @model_validator(mode="after")
    def _can_be_used(self) -> SecretsOfPlugin:
        for name in self.names:
            if not _PATTERN.fullmatch(name):
                raise ValueError("each of names must be a secret's name, in which * and ? are wildcards")
        for place, names in self.projects.items():
            if not _PLACE.fullmatch(place):
                raise ValueError(f"projects: {place[:80]!r} must be 'project', 'project/domain' or '*/domain'")
            try:
                for name, instead in names.items():
                    check_name(name)
                    name_and_key(instead)
            except InvalidRequest as error:
                raise ValueError(
                    f"projects: {place[:80]!r}: names must be 'name' or, on the right, 'name/key'"
                ) from error
        return self
