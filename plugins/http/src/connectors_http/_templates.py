"""Placeholders in a task's strings: ``{inputs.name}``, ``{inputs.name.key}`` and, in headers, ``{secrets.name}``.

A placeholder names a value and can do no more: there are no attributes, indices or format specifications. What it
stands for is not looked at again, so that a value which looks like a placeholder is text. Other braces stay as they
are.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from connectors import (
    Binary,
    Blob,
    ErrorValue,
    InvalidRequest,
    LiteralType,
    Schema,
    StructuredDataset,
)

__all__ = ["Placeholder", "Values", "json_text", "pieces", "placeholders", "text_of"]

_PATTERN = re.compile(r"\{([A-Za-z_]\w*)\.([^{}]+)\}")
_ROOTS: Final = ("inputs", "secrets")
_NAMES = re.compile(r"\w+(\.\w+)*")


@dataclass(frozen=True)
class Placeholder:
    """One of them. ``path`` is what stands behind the first full stop."""

    root: str
    path: str

    def __str__(self) -> str:
        return f"{{{self.root}.{self.path}}}"


def pieces(template: str) -> Iterator[str | Placeholder]:
    """A string's literal parts and placeholders, in order.

    :raises ValueError: it holds what looks like a placeholder of another kind, say ``{input.name}``.
    """
    end = 0
    for match in _PATTERN.finditer(template):
        root, path = match.groups()
        if root not in _ROOTS:
            if not _NAMES.fullmatch(path):
                continue  # JSON, or other text in braces
            raise ValueError(f"{match[0][:80]!r} names nothing: a placeholder is {{inputs.name}} or {{secrets.name}}")
        if match.start() > end:
            yield template[end : match.start()]
        yield Placeholder(root, path)
        end = match.end()
    if end < len(template):
        yield template[end:]


def placeholders(value: Any) -> Iterator[Placeholder]:
    """All placeholders in a JSON-like value. Keys have none.

    :raises ValueError: as :func:`pieces`.
    """
    if isinstance(value, str):
        yield from (piece for piece in pieces(value) if isinstance(piece, Placeholder))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from placeholders(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from placeholders(item)


class Values:
    """What placeholders stand for in one call."""

    def __init__(
        self,
        inputs: Callable[[], Mapping[str, Any]],
        declared: Mapping[str, LiteralType],
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """:param inputs: is asked when first needed. :param declared: the types of the inputs."""
        self._inputs = inputs
        self._declared = declared
        self._secrets = secrets or {}

    def text(self, template: str, *, quote: Callable[[str], str] = str, literal: Callable[[str], str] = str) -> str:
        """The string with every placeholder replaced by its value's text.

        :param quote: what is done to each value, :param literal: and to each part between them.
        :raises InvalidRequest: a value is missing, or has no text.
        """
        return "".join(
            literal(piece) if isinstance(piece, str) else quote(self.text_at(piece)) for piece in pieces(template)
        )

    def text_at(self, placeholder: Placeholder) -> str:
        """The text of one value.

        :raises InvalidRequest: it is missing, or has no text.
        """
        if placeholder.root == "secrets":
            return self._secrets[placeholder.path]
        try:
            return text_of(self._at(placeholder))
        except ValueError as error:
            raise InvalidRequest(f"{placeholder} {error}") from error

    def filled(self, value: Any, *, whole: bool = False) -> Any:
        """A JSON-like value with its placeholders replaced. A string that is nothing but a placeholder becomes the
        value itself: a number stays a number, a list a list.

        :param whole: keeps objects as they are. Otherwise a struct, which is how a dict or a dataclass arrives, becomes
            its JSON text, which is what the services of existing workflows are sent.
        :raises InvalidRequest: a value is missing, or has no form in JSON.
        """
        if isinstance(value, Mapping):
            return {key: self.filled(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.filled(item) for item in value]
        if not isinstance(value, str):
            return value
        parts = list(pieces(value))
        if len(parts) != 1 or isinstance(parts[0], str):
            return self.text(value)
        try:
            found = _json_like(self._at(parts[0]))
        except ValueError as error:
            raise InvalidRequest(f"{parts[0]} {error}") from error
        kind = self._declared.get(parts[0].path)
        if not whole and kind is not None and kind.kind == "struct":
            return json.dumps(found)
        return found

    def _at(self, placeholder: Placeholder) -> Any:
        found: Any = self._inputs()
        walked = "inputs"
        for name in placeholder.path.split("."):
            if not isinstance(found, Mapping) or name not in found:
                what = "no input is named" if walked == "inputs" else f"{{{walked}}} has no key"
                raise InvalidRequest(f"{placeholder}: {what} {name[:80]!r}")
            found, walked = found[name], f"{walked}.{name}"
        return found


def text_of(value: Any) -> str:
    """A value as text: what Python's ``str`` makes of a number or a truth value, JSON of lists and maps.

    :raises ValueError: it has none; the text goes on behind the placeholder.
    """
    plain = _json_like(value)
    if plain is None:
        raise ValueError("is None, which has no text")
    return plain if isinstance(plain, str) else json.dumps(plain) if isinstance(plain, dict | list) else str(plain)


def json_text(value: Any) -> str:
    """JSON as it is sent: as short as it can be, in UTF-8.

    :raises ValueError: the value holds NaN or an infinity.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _json_like(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"is {value}, which has no form in JSON")
            return value
        case Mapping():
            return {str(key): _json_like(item) for key, item in value.items()}
        case list() | tuple():
            return [_json_like(item) for item in value]
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return b64encode(value).decode()
        case Binary():
            return b64encode(value.value).decode()
        case Blob() | StructuredDataset() | Schema():
            return value.uri
        case ErrorValue():
            return value.message
        case _:
            raise ValueError(f"is a {type(value).__name__}, which cannot be sent")
