"""What a source of secrets is, and the two that need nothing: the request and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

__all__ = ["Asked", "EnvironmentSecrets", "RequestSecrets", "Secret", "SecretSource", "as_variable"]


@dataclass(frozen=True)
class Secret:
    """A value, and how to find it again."""

    value: str = field(repr=False)
    reference: str = ""
    """For a meta: where the value was found, as far as its name alone does not say. "" where it does. Never the
    value."""


@dataclass(frozen=True)
class Asked:
    """What a source is asked for."""

    name: str
    key: str = ""
    """Of a secret that has several entries, as one of Kubernetes does; "" where it has one."""
    namespace: str = ""
    """Kubernetes' namespace of the workflow; "" where the call does not say."""
    is_declared: bool = True
    """Whether the plugin or the operator named the secret; else it may have been chosen by a task."""
    by_wildcard: bool = False
    """Whether only a wildcard of the operator's allows the name: a task may have chosen the rest of it."""
    reserved: frozenset[str] = frozenset()
    """Other plugins' names, as :func:`as_variable` spells them: a source that spells a name in another way must not
    arrive at one."""
    by_reference: bool = False
    """Whether a reference that came back led to this source: it must then say why it does not answer."""


def as_variable(name: str) -> str:
    """A secret's name as a shell can export it: in capitals, with ``_`` for ``-`` and ``.``."""
    return name.replace("-", "_").replace(".", "_").upper()


class SecretSource(Protocol):
    """One place where secrets may be. A name and a key hold letters, digits, ``_``, ``.`` and ``-`` alone, and begin
    with none of ``.`` and ``-``.
    """

    @property
    def kind(self) -> str:
        """What a setting calls it, and what its references begin with."""

    async def find(self, asked: Asked) -> Secret | None:
        """The secret, or None where this source does not have it.

        :raises ConnectorError: it cannot say.
        """

    def where(self, asked: Asked) -> str:
        """Where it looks for this secret, for the error of one that is nowhere."""

    async def aclose(self) -> None:
        """Let go of connections and threads. Called once, after the last call."""


class RequestSecrets:
    """The secrets that came with the request, by name alone."""

    kind = "request"

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    async def find(self, asked: Asked) -> Secret | None:
        value = self._values.get(asked.name)
        return None if value is None else Secret(value)

    def where(self, asked: Asked) -> str:
        return "the request"

    async def aclose(self) -> None:
        """There is nothing to let go of."""


class EnvironmentSecrets:
    """The server's environment: the name itself, in capitals, or with the prefix ``_FSEC_`` that Flyte gives to mounted
    secrets; with the key behind it (``_FSEC_<NAME>_<KEY>``) or without. After each it is looked for with ``_`` in place
    of ``-`` and ``.``, which no shell can export: ``crm-token`` is ``_FSEC_CRM_TOKEN`` or ``CRM_TOKEN`` too, unless
    that is the name of another plugin's secret.

    A secret that neither its plugin nor the operator named is looked for with the prefix alone, so that a task reads no
    variable that is no secret of its own; so is, in the second spelling, one that the operator named by a wildcard.
    """

    kind = "environment"

    async def find(self, asked: Asked) -> Secret | None:
        for variable in _variables(asked):
            if value := os.environ.get(variable):
                return Secret(value)
        return None

    def where(self, asked: Asked) -> str:
        return f"the environment ({', '.join(_variables(asked))})"

    async def aclose(self) -> None:
        """There is nothing to let go of."""


@lru_cache(maxsize=1_024)
def _variables(asked: Asked) -> tuple[str, ...]:
    found: list[str] = []
    for name in (f"{asked.name}_{asked.key}", asked.name) if asked.key else (asked.name,):
        found += [f"_FSEC_{name.upper()}"]
        found += [name.upper(), name] if asked.is_declared else []
        folded = as_variable(name)
        if folded == name.upper() or folded in asked.reserved:
            continue
        found += [f"_FSEC_{folded}"]
        found += [folded, folded.lower()] if asked.is_declared and not asked.by_wildcard else []
    return tuple(dict.fromkeys(found))
