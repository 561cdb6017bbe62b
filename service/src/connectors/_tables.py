"""How a command prints a table: for people with lines and colours, for grep and cut one line a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

__all__ = ["console", "print_table"]

_NEVER_BROKEN = 1_000


def console() -> Console:
    """Standard output. Where it is no terminal, a line of a table is not broken."""
    made = Console(highlight=False, emoji=False)
    if not made.is_terminal:
        made.width = _NEVER_BROKEN
    return made


def print_table(to: Console, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns with at least two blanks between them. The first one's text is never broken, and no word of the others,
    however narrow the terminal is; an empty cell is "-", so that columns can be counted.
    """
    table = Table(box=box.SIMPLE_HEAD if to.is_terminal else None)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(cell)) or "-" for cell in row))
    to.width = max(to.width, Measurement.get(to, to.options.update(width=_NEVER_BROKEN), table).minimum)
    to.print(table)


def printable(text: str) -> str:
    """``text`` on one line, and with nothing that a terminal would take for a command."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
