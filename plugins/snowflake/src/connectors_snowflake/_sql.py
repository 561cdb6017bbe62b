r"""What in a statement is SQL, and what is a literal, a quoted name or a comment.

https://docs.snowflake.com/en/sql-reference/data-types-text#string-constants: strings are ``'…'``, in which ``''`` and
``\'`` are quotes, or ``$$…$$``; names may be ``"…"``; comments are ``--``, ``//`` and ``/* … */``.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator

__all__ = ["Kind", "has_several_statements", "split"]

_SET_APART = re.compile(
    r"""
    (?P<comment> --[^\n]* | //[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<quoted> '(?:[^'\\]|\\.|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z) | \$\$.*?(?:\$\$|\Z) )
    """,
    re.VERBOSE | re.DOTALL,
)
# A block of Snowflake Scripting holds semicolons, and is one statement; BEGIN alone starts a transaction.
_BLOCK = re.compile(r"\bBEGIN\b(?!\s*(?:;|\Z|TRANSACTION\b|WORK\b|NAME\b))", re.IGNORECASE)


class Kind(enum.Enum):
    """What a stretch of a statement is."""

    CODE = enum.auto()
    QUOTED = enum.auto()
    COMMENT = enum.auto()


def split(statement: str) -> Iterator[tuple[Kind, str]]:
    """The statement in stretches of one kind, in order; together they are the whole statement."""
    end = 0
    for found in _SET_APART.finditer(statement):
        if found.start() > end:
            yield Kind.CODE, statement[end : found.start()]
        yield Kind.COMMENT if found["comment"] is not None else Kind.QUOTED, found[0]
        end = found.end()
    if end < len(statement):
        yield Kind.CODE, statement[end:]


def has_several_statements(statement: str) -> bool:
    """Whether semicolons part it into several statements, of which comments and a last semicolon are none. A block of
    Snowflake Scripting is one, whatever it holds.
    """
    # what stands in quotes is of no interest, but that it is there
    code = "".join(
        text if kind is Kind.CODE else " 'x' " for kind, text in split(statement) if kind is not Kind.COMMENT
    )
    return not _BLOCK.search(code) and sum(bool(part.strip()) for part in code.split(";")) > 1
