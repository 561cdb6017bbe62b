"""Keeps the values that were handed out, so that they can be taken out of everything that is said."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

__all__ = ["SURELY_SECRET", "redact", "remember"]

_SHORTEST_REDACTED = 6  # a shorter value would blank out ordinary words
SURELY_SECRET = 16
"""Characters. A shorter value may be an ordinary word."""
_REMEMBERED = 1_024
_FEW = 60
"""Forms in base64, of which each secret has six: to look for so many is cheaper than to look whether any can be there.
"""
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_handed_out: OrderedDict[str, _Forms] = OrderedDict()


@dataclass(frozen=True)
class _Forms:
    """What a value may look like."""

    plain: frozenset[str]
    base64: frozenset[str]


@dataclass(frozen=True)
class _Hidden:
    """What is looked for, the longest first: a value may begin with another."""

    plain: tuple[str, ...] = ()
    base64: tuple[str, ...] = ()

    @classmethod
    def of(cls, forms: Iterable[_Forms]) -> _Hidden:
        every = list(forms)
        return cls(
            tuple(sorted({form for each in every for form in each.plain}, key=len, reverse=True)),
            tuple(sorted({form for each in every for form in each.base64}, key=len, reverse=True)),
        )


_hidden = [_Hidden()]


def remember(value: str) -> None:
    """Have :func:`redact` hide ``value`` from now on, also where it was escaped or cut into lines, and in a URL or in
    base64, as ``user:password`` is in a header (RFC 7617 §2). The oldest of 1,024 values is forgotten first.
    """
    if len(value) < _SHORTEST_REDACTED or value in _handed_out:
        return
    _handed_out[value] = _forms(value)
    if len(_handed_out) > _REMEMBERED:
        _handed_out.popitem(last=False)
    _hidden[0] = _Hidden.of(_handed_out.values())


def redact(text: str, values: Iterable[str] | None = None) -> str:
    """``text`` with every secret value that was handed out replaced by ``[secret]``.

    :param values: these alone are taken out: for a text that is somebody's data, in which the other secrets, of other
        calls, are words like any other.
    """
    if values is None:
        hidden = _hidden[0]
    else:
        hidden = _Hidden.of(_forms(value) for value in values if len(value) >= _SHORTEST_REDACTED)
    for value in hidden.plain:
        if value in text:
            text = text.replace(value, "[secret]")
    if hidden.base64 and (len(hidden.base64) < _FEW or _may_hold_base64(text)):
        for value in hidden.base64:
            if value in text:
                text = text.replace(value, "[secret]")
    return text


def _forms(value: str) -> _Forms:
    plain = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    plain.update(line.strip() for line in value.splitlines() if len(line.strip()) >= SURELY_SECRET)
    encoded: set[str] = set()
    if len(value) >= SURELY_SECRET:
        plain.add(quote(value, safe=""))
        for before in range(3):
            found = _in_base64(value.encode(), before)
            encoded |= {found, found.replace("+", "-").replace("/", "_")}
    return _Forms(frozenset(plain), frozenset(encoded))


def _in_base64(value: bytes, before: int) -> str:
    """The characters of base64 that are the value's alone where ``before`` bytes, or three more or six, precede it."""
    encoded = b64encode(bytes(before) + value).decode()
    return encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]


def _may_hold_base64(text: str) -> bool:
    """Cheaply: keys, names and paths are long too, and have small letters alone."""
    return any(word != word.lower() for word in _ENCODED.findall(text))
