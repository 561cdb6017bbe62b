"""Where a connector's secrets come from, and how they stay out of everything else.

A call's secrets are looked up in an ordered list of sources: what the request brought with it (Flyte 2's connection),
the environment, then files. A value that was handed out is remembered by the process, so that :func:`redact` takes it
out of log lines, errors and metas.
"""

from __future__ import annotations

import json
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from connectors.errors import FailedPrecondition, InvalidRequest

__all__ = ["EnvironmentSecrets", "FileSecrets", "RequestSecrets", "SecretSource", "Secrets", "redact"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_SHORTEST_REDACTED = 6  # a shorter value would blank out ordinary words
_SURELY_SECRET = 16
_REMEMBERED = 1_024
_handed_out: OrderedDict[str, frozenset[str]] = OrderedDict()
_hidden: list[str] = []


class SecretSource(Protocol):
    """One place where secrets may be."""

    async def get(self, name: str) -> str | None:
        """The value, or None where this source does not have it."""


class RequestSecrets:
    """The secrets that came with the request."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    async def get(self, name: str) -> str | None:
        return self._values.get(name)


class EnvironmentSecrets:
    """The server's environment: the name itself, in capitals, or with the prefix ``_FSEC_`` that Flyte gives to mounted
    secrets.
    """

    async def get(self, name: str) -> str | None:
        upper = name.upper()
        for variable in (f"_FSEC_{upper}", upper, name):
            if value := os.environ.get(variable):
                return value
        return None


class FileSecrets:
    """Files named after their secret in a folder, read each time: a rotated secret is seen by the next call."""

    def __init__(self, folder: Path = Path("/etc/secrets")) -> None:
        self._folder = folder

    async def get(self, name: str) -> str | None:
        for candidate in (name, name.lower()):
            try:
                return (self._folder / candidate).read_text("utf-8").strip()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise FailedPrecondition(f"the file of secret {name!r} cannot be read") from error
        return None


class Secrets:
    """The secrets that one call may ask for."""

    def __init__(self, sources: Sequence[SecretSource]) -> None:
        """:param sources: asked in this order; the first that has the secret wins."""
        self._sources = tuple(sources)
        self._given: list[str] = []

    async def get(self, name: str) -> str:
        """The value of a secret.

        :raises InvalidRequest: the name is not one that a secret can have (letters, digits, ``_``, ``.``, ``-``; no
            path).
        :raises FailedPrecondition: no source has it.
        """
        value = await self.find(name)
        if value is None:
            raise FailedPrecondition(
                f"the secret {name!r} is neither in the request, nor in the environment, nor in a file"
            )
        return value

    async def find(self, name: str) -> str | None:
        """The value of a secret, or None where no source has it.

        :raises InvalidRequest: as :meth:`get`.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"{name[:80]!r} cannot be a secret's name: letters, digits, '_', '.' and '-' only")
        for source in self._sources:
            value = await source.get(name)
            if value is not None:
                remember(value)
                self._given.append(value)
                return value
        return None

    def leaks(self, text: str) -> bool:
        """Whether ``text`` holds a value that this call was given, of 16 characters or more (a shorter one may be an
        ordinary word).
        """
        return any(len(value) >= _SURELY_SECRET and value in text for value in self._given)

    def __repr__(self) -> str:
        return "Secrets(…)"


def remember(value: str) -> None:
    """Have :func:`redact` hide ``value`` from now on, also where it was escaped or cut into lines. The oldest of 1,024
    values is forgotten first.
    """
    if len(value) < _SHORTEST_REDACTED or value in _handed_out:
        return
    forms = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms.update(line.strip() for line in value.splitlines() if len(line.strip()) >= _SURELY_SECRET)
    _handed_out[value] = frozenset(forms)
    if len(_handed_out) > _REMEMBERED:
        _handed_out.popitem(last=False)
    # the longest first: a value may begin with another
    _hidden[:] = sorted({form for forms in _handed_out.values() for form in forms}, key=len, reverse=True)


def redact(text: str) -> str:
    """``text`` with every secret value that was handed out replaced by ``[secret]``."""
    for value in _hidden:
        if value in text:
            text = text.replace(value, "[secret]")
    return text
