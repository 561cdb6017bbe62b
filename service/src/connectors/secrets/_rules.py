"""Which secrets one connector may read, and under which name a project's are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

from connectors.errors import InvalidRequest, PermissionDenied
from connectors.secrets._sources import as_variable

__all__ = ["SecretRules", "SecretScope", "check_name", "name_and_key"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")


@dataclass(frozen=True)
class SecretScope:
    """Whose call it is, as far as the call says."""

    namespace: str = ""
    project: str = ""
    domain: str = ""


@dataclass(frozen=True)
class SecretRules:
    """The rules of one connector. By default it may read any secret, by its own name."""

    names: tuple[str, ...] | None = None
    """Those that it may ask for; ``*`` and ``?`` stand for any characters and for one. None: any but :attr:`others`."""
    others: frozenset[str] = frozenset()
    """Names that other plugins declared: where :attr:`names` is None, they are not for this one, however they are
    spelled (in small letters or capitals, with ``_``, ``-`` or ``.``)."""
    bare_variables: bool = True
    """Where :attr:`names` is None: whether a variable without ``_FSEC_`` may hold any secret that is asked for."""
    by_project: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By place (``project/domain``, ``project``, ``*/domain``), by name: the name, or ``name/key``, that is looked up
    in its stead."""

    def check(self, name: str) -> None:
        """:raises PermissionDenied: the connector may not ask for this secret."""
        if self.names is None:
            if as_variable(name) not in self._others_as_variables:
                return
            raise PermissionDenied(f"the secret {name!r} is another plugin's")
        if name not in self.names and not any(fnmatchcase(name, allowed) for allowed in self.names):
            raise PermissionDenied(f"the secret {name!r} is not among those that this connector may read")

    @property
    def is_declared(self) -> bool:
        """Whether the names that pass :meth:`check` are the plugin's or the operator's own."""
        return self.names is not None or self.bare_variables

    def by_wildcard(self, name: str) -> bool:
        """Whether a name that passes :meth:`check` does so by a wildcard alone."""
        return self.names is not None and name not in self.names

    def reserved(self, name: str) -> frozenset[str]:
        """For :attr:`connectors.secrets.Asked.reserved`. A name that two plugins share is kept from neither."""
        if name not in self.others:
            return self._others_as_variables
        return frozenset(as_variable(other) for other in self.others if other != name)

    @cached_property
    def _others_as_variables(self) -> frozenset[str]:
        return frozenset(map(as_variable, self.others))

    def place_for(self, name: str, scope: SecretScope) -> str:
        """The most specific place that has another name for this secret; "" where none has."""
        project, domain = scope.project, scope.domain
        for place in (f"{project}/{domain}", project, f"*/{domain}"):
            if name in self.by_project.get(place, ()):
                return place
        return ""

    def instead(self, name: str, place: str) -> str | None:
        """``name`` or ``name/key``, of what is looked up for this secret at a place; None where that has none."""
        return self.by_project.get(place, {}).get(name)

    def all_instead(self, name: str) -> Iterator[str]:
        """What is looked up for this secret at any place."""
        for names in self.by_project.values():
            if name in names:
                yield names[name]


def check_name(text: str) -> None:
    """:raises InvalidRequest: ``text`` cannot be a secret's name, or an entry's."""
    if not _NAME.fullmatch(text):
        raise InvalidRequest(f"{text[:80]!r} cannot be a secret's name: letters, digits, '_', '.' and '-' only")


def name_and_key(text: str) -> tuple[str, str]:
    """The parts of ``name`` or ``name/key``.

    :raises InvalidRequest: it is neither.
    """
    name, slash, key = text.partition("/")
    check_name(name)
    if slash:
        check_name(key)
    return name, key
