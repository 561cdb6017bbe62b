"""Docstrings as the reference pages show them: what is reStructuredText in the code is Markdown in the guide.

An extension of griffe, which reads the code for mkdocstrings. It knows what this project's docstrings use: roles
(``:class:`Phase` ``), literal blocks after ``::``, and fields, several of which may stand in one line.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

__all__ = ["MarkdownDocstrings", "as_markdown"]

_ROLE = re.compile(r":(?:class|func|attr|meth|mod|data|exc):`~?([^`]+)`")
_FIELD = re.compile(r"(?<=[.:;]) (?=:(?:param \w+|returns?|raises \w+):)")
_RAISES = re.compile(r"^:raises(?P<names> \w+(?:, \w+)+)?: (?P<when>(?:.|\n(?!:))*)", re.MULTILINE)
_LITERAL = re.compile(r"(?P<before>[^\n]*)::\n\n(?P<code>(?:(?: {4}[^\n]*)?\n)+(?: {4}[^\n]+)?)")


def as_markdown(docstring: str) -> str:
    """A docstring's text, without roles and literal blocks, each of its fields on a line of its own."""
    text = _FIELD.sub("\n", _ROLE.sub(r"``\1``", docstring))
    text = _RAISES.sub(_one_by_one, text)
    return _LITERAL.sub(_fenced, text)


def _one_by_one(found: re.Match[str]) -> str:
    """Griffe wants one exception for each field."""
    names = (found["names"] or "Exception").split(",")
    return "\n".join(f":raises {name.strip()}: {found['when'].rstrip()}" for name in names)


def _fenced(found: re.Match[str]) -> str:
    code = textwrap.dedent(found["code"]).strip("\n")
    before = found["before"].rstrip()
    return f"{before}{':' if before else ''}\n\n```python\n{code}\n```\n\n"


class MarkdownDocstrings(griffe.Extension):
    """Does that to every docstring that is read. What Python calls by itself (``__aenter__``) is not shown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Once an object has been made of the code."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Once all of a class has been read. Its ``__init__`` becomes the class's own signature."""
        for name in [name for name in cls.members if name.startswith("__") and name != "__init__"]:
            del cls.members[name]
