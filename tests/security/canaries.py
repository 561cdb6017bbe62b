"""Values that stand for secrets, and the forms in which one could come out again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

__all__ = ["Leak", "forms", "leaks"]

_SHORTEST_LINE = 16
"""Characters: a shorter line of a key is no proof of anything."""


@dataclass(frozen=True)
class Leak:
    """A secret that was found where it must not be."""

    secret: str
    """What it is, in words."""
    form: str
    around: str
    """Of what was searched."""


def forms(value: str) -> Mapping[str, bytes]:
    """``value``, and what it becomes in a URL, in JSON and in base64, whatever stands before it there. Of a text of
    several lines each line counts: a part of a key is enough.
    """
    found: dict[str, str] = {}
    for line in (each.strip() for each in value.splitlines()):
        if len(line) < _SHORTEST_LINE or line.startswith("-----"):
            continue
        number = f"line {len(found)}"
        found |= {
            f"{number}": line,
            f"{number} in a URL": quote(line, safe=""),
            f"{number} in JSON": json.dumps(line)[1:-1],
        }
        found |= {f"{number} in base64, {shift}": _in_base64(line.encode(), shift) for shift in range(3)}
        found |= {
            f"{number} in base64url, {shift}": _in_base64(line.encode(), shift).translate(str.maketrans("+/", "-_"))
            for shift in range(3)
        }
    assert found, "too short a secret to look for"
    return {name: text.encode() for name, text in found.items()}


def _in_base64(data: bytes, shift: int) -> str:
    """What base64 makes of it when ``shift`` bytes, and any threes, stand before it: without what they change."""
    text = base64.b64encode(bytes(shift) + data).decode()
    first = -(-shift * 8 // 6)
    last = (shift + len(data)) * 8 // 6
    return text[first:last]


def leaks(data: bytes, secrets: Mapping[str, str]) -> list[Leak]:
    """Every secret that is in the data, in any form."""
    return list(_leaks(data, secrets))


def _leaks(data: bytes, secrets: Mapping[str, str]) -> Iterable[Leak]:
    for name, value in secrets.items():
        for form, wanted in forms(value).items():
            at = data.find(wanted)
            if at >= 0:
                yield Leak(name, form, data[max(0, at - 200) : at + len(wanted) + 40].decode(errors="replace"))
                break
