"""A plugin's name in all its forms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["BadName", "Names"]

_LONGEST: Final = 32  # what is written is formatted, with names up to this
_PREFIX: Final = "connectors-"
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TAKEN: Final = frozenset({"service", "bigquery", "databricks", "http", "openai", "snowflake"})
"""This project's own distributions."""
_OF_THE_KIT: Final = frozenset({"connector", "connectors"})
"""``ConnectorTask`` and the like are names that a plugin imports."""
_WORDS: Final = re.compile(r"connectors-acme|acme|Acme|ACME")


class BadName(ValueError):
    """What was given cannot name a plugin; the message says why, and what can."""


@dataclass(frozen=True)
class Names:
    """One name: ``my-jobs`` is ``connectors-my-jobs``, ``connectors_my_jobs``, ``MyJobsConnector``, ``MY_JOBS_TOKEN``.

    Everything but the distribution is made of letters, digits and ``_``, so that it is an identifier, and the plugin's
    name is the beginning of its variables.
    """

    name: str
    """Words in lower case with ``-`` between them."""

    @classmethod
    def of(cls, given: str) -> Names:
        """From what a person typed: ``My_Jobs`` and ``connectors-my-jobs`` are ``my-jobs``, since distributions' names
        are compared so (PEP 503).

        :raises BadName: it cannot name a distribution (PEP 508) and a module and a class, or the name is taken.
        """
        name = re.sub(r"[-_.]+", "-", given.lower()).removeprefix(_PREFIX)
        if not _NAME.fullmatch(name) or not given.isascii():
            raise BadName(
                f"{given[:80]!r} cannot name a plugin: letters and digits, the first one a letter, with single '-' "
                "between words, are needed"
            )
        if len(name) > _LONGEST:
            raise BadName(f"{given[:80]!r} is too long for a plugin's name: at most {_LONGEST} characters")
        if name in _TAKEN:
            raise BadName(f"{_PREFIX}{name} is a package of this project: choose another name")
        if name in _OF_THE_KIT:
            raise BadName(f"{given!r} would name the plugin's classes as this project's own are: choose another name")
        if name.startswith("test"):
            raise BadName(
                f"{given!r} would name the plugin's classes as tests are named, to pytest: choose another name"
            )
        return cls(name)

    @property
    def distribution(self) -> str:
        """What pip installs, and the folder's name."""
        return f"{_PREFIX}{self.name}"

    @property
    def module(self) -> str:
        """The plugin's name, its task type, and the end of its import package's name."""
        return self.name.replace("-", "_")

    @property
    def title(self) -> str:
        """The beginning of its classes' names."""
        return "".join(word.capitalize() for word in self.name.split("-"))

    def fill_in(self, text: str) -> str:
        """A template's text, or the name of one of its files, with this name in the place of Acme's."""
        forms = {
            "connectors-acme": self.distribution,
            "acme": self.module,
            "Acme": self.title,
            "ACME": self.module.upper(),
        }
        return _WORDS.sub(lambda found: forms[found[0]], text)
