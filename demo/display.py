"""What the demo prints: with colours and a live line on a terminal, plain lines anywhere else."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent

from rich import box
from rich.console import Console, ConsoleRenderable
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

__all__ = ["Display", "Progress"]

_PICTURE_WIDTH = 140  # columns
_THEME = Theme({"step": "bold cyan", "label": "dim", "good": "green", "repr.url": "blue"})
# Fonts from elsewhere: a picture in a repository has no business to load any.
_FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)

Progress = Callable[[str], None]
"""Shows what is being waited for, in a word or a few."""


class Display:
    """Writes to standard output, and on the side to a picture."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(theme=_THEME, highlight=False)
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._picture = Console(
            record=True,
            file=io.StringIO(),
            width=_PICTURE_WIDTH,
            force_terminal=True,
            color_system="truecolor",
            theme=_THEME,
            highlight=False,
        )

    def title(self, text: str) -> None:
        """What the run is about."""
        self._print(Text(text, style="bold"))

    def step(self, text: str) -> None:
        """The heading of what comes next."""
        self._print(Text())
        self._print(Text(text, style="step"))

    def fact(self, label: str, text: str, *, good: bool = False) -> None:
        """Something found out, under its label. It is never wrapped: what is copied from it is whole."""
        line = f"  [label]{escape(label):<16}[/label] {'[good]' if good else ''}{escape(text)}"
        self._console.print(line, soft_wrap=True)
        self._picture.print(Text.from_markup(line))

    def sql(self, statement: str) -> None:
        """A statement."""
        self._print(Text(indent(statement, "  ")))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> None:
        """Some rows. :param numbers: the columns that are set right, from 0."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold")
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index in numbers else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(escape, row))
        self._print(Padding(table, (1, 0, 0, 1), expand=False))

    @contextmanager
    def waiting(self, label: str) -> Iterator[Progress]:
        """Shows that something is under way, for how long, and what it says of itself.

        A terminal has a live line, which is gone in the end. Elsewhere each thing it says is a line, printed as that
        begins: a time in it would read as how long it took, so there is none.
        """
        started = time.monotonic()
        said = ""

        def line() -> Text:
            return Text.assemble("  ", (f"{label:<16} ", "dim"), said)

        def say(text: str) -> None:
            nonlocal said
            if text != said:
                said = text
                if not self._is_live:
                    self._console.print(line(), soft_wrap=True)

        if not self._is_live:
            yield say
            return
        spinner = Spinner("dots")

        def render() -> ConsoleRenderable:
            spinner.update(text=line().append(f"  {time.monotonic() - started:.1f} s", style="dim"))
            return spinner

        with Live(get_renderable=render, console=self._console, refresh_per_second=12.5, transient=True):
            yield say

    def save_picture(self, path: Path, title: str) -> None:
        """Write everything that was printed as SVG.

        :raises OSError: the file cannot be written.
        """
        path.write_text(_FONT_FACES.sub("", self._picture.export_svg(title=title)), encoding="utf-8")

    def _print(self, what: ConsoleRenderable) -> None:
        self._console.print(what)
        self._picture.print(what)
