"""Keeps the values that were handed out, so that they can be taken out of everything that is said."""

from __future__ import annotations

import json
from collections import OrderedDict

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
    forms = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms.update(line.strip() for line in value.splitlines() if len(line.strip()) >= SURELY_SECRET)
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
