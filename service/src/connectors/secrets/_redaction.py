"""Keeps the values that were handed out, so that they can be taken out of everything that is said."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable

__all__ = ["SURELY_SECRET", "redact", "remember"]

_SHORTEST_REDACTED = 6  # a shorter value would blank out ordinary words
SURELY_SECRET = 16
"""Characters. A shorter value may be an ordinary word."""
_REMEMBERED = 1_024
_handed_out: OrderedDict[str, frozenset[str]] = OrderedDict()
_hidden: list[str] = []


def remember(value: str) -> None:
    """Have :func:`redact` hide ``value`` from now on, also where it was escaped or cut into lines. The oldest of 1,024
    values is forgotten first.
    """
    if len(value) < _SHORTEST_REDACTED or value in _handed_out:
        return
    _handed_out[value] = _forms(value)
    if len(_handed_out) > _REMEMBERED:
        _handed_out.popitem(last=False)
    _hidden[:] = _longest_first(_handed_out.values())


def redact(text: str, values: Iterable[str] | None = None) -> str:
    """``text`` with every secret value that was handed out replaced by ``[secret]``.

    :param values: these alone are taken out: for a text that is somebody's data, in which the other secrets, of other
        calls, are words like any other.
    """
    if values is None:
        hidden = _hidden
    else:
        hidden = _longest_first(_forms(value) for value in values if len(value) >= _SHORTEST_REDACTED)
    for value in hidden:
        if value in text:
            text = text.replace(value, "[secret]")
    return text


def _forms(value: str) -> frozenset[str]:
    forms = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms.update(line.strip() for line in value.splitlines() if len(line.strip()) >= SURELY_SECRET)
    return frozenset(forms)


def _longest_first(forms: Iterable[frozenset[str]]) -> list[str]:
    """A value may begin with another."""
    return sorted({form for each in forms for form in each}, key=len, reverse=True)
