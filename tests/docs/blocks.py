"""The fenced blocks of a Markdown file, and what the comments before them say of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ROOT", "Block", "blocks_of"]

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,}) *(?P<language>[\w+-]*)(?P<rest>.*)$")
_TITLE = re.compile(r'\btitle="([^"]+)"')
_NOTE = re.compile(r"^ *<!-- *(?P<name>[a-z -]+?)(?:: *(?P<value>.+?))? *-->$")


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    language: str
    text: str
    title: str = ""
    """The name of the file that it is, or ""."""
    line: int = 0
    """Of its first fence, from 1."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """The comments right before it, by name: ``<!-- exit: 3 -->`` is ``{"exit": "3"}``."""

    @property
    def commands(self) -> list[str]:
        """A shell block's lines without comments."""
        return [command for _, command in self.numbered_commands]

    @property
    def numbered_commands(self) -> list[tuple[int, str]]:
        """A shell block's commands, each with the page's line where it begins; one that ends with a backslash goes on
        in the next."""
        found: list[tuple[int, str]] = []
        going_on = False
        for number, text in enumerate(self.text.splitlines(), self.line + 1):
            line = re.sub(r"(^|\s+)#.*", "", text).strip()
            if going_on:
                begun, command = found.pop()
                found.append((begun, f"{command} {line.removesuffix(chr(92)).strip()}"))
            elif line:
                found.append((number, line.removesuffix("\\").strip()))
            going_on = line.endswith("\\")
        return found


def blocks_of(text: str) -> list[Block]:
    """Every block, in order.

    :raises ValueError: a fence is not closed.
    """
    return list(_blocks(text.splitlines()))


def _blocks(lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        if opened:
            end = next((n for n in range(number + 1, len(lines)) if lines[n].strip() == opened["ticks"]), None)
            if end is None:
                raise ValueError(f"line {number + 1}: the fence is not closed")
            inner = "".join(f"{_without(opened['indent'], line)}\n" for line in lines[number + 1 : end])
            title = _TITLE.search(opened["rest"])
            yield Block(opened["language"], inner, title[1] if title else "", number + 1, _notes(lines[:number]))
            number = end
        number += 1


def _without(indent: str, line: str) -> str:
    return line[min(len(indent), len(line) - len(line.lstrip(" "))) :]


def _notes(before: list[str]) -> dict[str, str]:
    found = {}
    for line in reversed(before):
        note = _NOTE.match(line)
        if note:
            found[note["name"]] = note["value"] or ""
        elif line.strip():
            break
    return found
