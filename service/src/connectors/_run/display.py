"""How a run is shown while it lasts: one live line on a terminal, a line for each change anywhere else.

All of it goes to standard error, so that standard output holds the outputs alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.style import Style
from rich.table import Table
from rich.text import Text

from connectors._tables import printable
from connectors.local import Outcome, Progress, shown_meta
from connectors.models import Phase, TaskLog

__all__ = ["Display", "notices"]

_A_SECOND = 8  # pictures of the live line
_NEVER_BROKEN = 100_000
_STYLES = {
    Phase.SUCCEEDED: "bold green",
    Phase.FAILED: "bold red",
    Phase.ABORTED: "bold red",
    Phase.RETRYABLE_FAILED: "bold yellow",
}
_STAGES = {"creating": "CREATING", "deleting": "DELETING"}


def notices() -> Console:
    """Standard error. Where it is no terminal, no line is broken."""
    made = Console(stderr=True, highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        made.width = _NEVER_BROKEN
    return made


class Display:
    """Shows one run. Use it as a context; :meth:`tell` takes its progress."""

    def __init__(self, task_type: str) -> None:
        """:param task_type: what is run."""
        self._task_type = task_type
        self._to = notices()
        self._clock = asyncio.get_running_loop().time
        self._latest = Progress("creating", 0.0)
        self._told_at = self._clock()
        self._shown: tuple[str, str, str] | None = None
        self._links: set[TaskLog] = set()
        self._unknown_states = 0
        self._spinner = Spinner("dots")
        is_live = self._to.is_terminal and not self._to.is_dumb_terminal
        self._live = (
            Live(get_renderable=self._picture, console=self._to, refresh_per_second=_A_SECOND, transient=True)
            if is_live
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, progress: Progress) -> None:
        """Show where the run stands."""
        self._latest, self._told_at = progress, self._clock()
        for state in progress.unknown_states[self._unknown_states :]:
            text = f"the connector does not know the state {printable(state)}, and takes it for RUNNING"
            self._line(progress.elapsed, Text(text, "yellow"))
        self._unknown_states = len(progress.unknown_states)
        if progress.stage == "deleted":
            self._line(progress.elapsed, Text("the job was deleted"))
        elif progress.stage == "none":
            self._line(progress.elapsed, Text(printable(progress.message)))
        elif progress.stage == "left":
            self._say_what_is_left(progress)
        elif self._live is None and not progress.phase.is_terminal:
            self._say_changes(progress)

    def end(self, outcome: Outcome) -> None:
        """Show how the run ended, and where there is more to see."""
        self._say_links(outcome.log_links, outcome.elapsed)
        if outcome.timed_out:
            text = Text("TIMED OUT", "bold red")
            seen = "" if outcome.phase is Phase.UNDEFINED else f"the last phase was {outcome.phase.name}"
            text.append(f"  {'; '.join(filter(None, (seen, printable(outcome.trouble))))}".rstrip())
        else:
            if not outcome.succeeded and outcome.meta:
                self._line(outcome.elapsed, Text(f"the job's resource meta is {shown_meta(outcome.meta)}"))
            text = Text(outcome.phase.name, _STYLES.get(outcome.phase, ""))
            text.append(f"  {printable(outcome.message)}".rstrip())
        self._line(outcome.elapsed, text)

    # --- lines, which stay

    def _say_changes(self, progress: Progress) -> None:
        self._say_links(progress.log_links, progress.elapsed)
        shown = (progress.stage, progress.state, progress.said)
        if shown != self._shown:
            self._shown = shown
            self._line(progress.elapsed, _state(progress))

    def _say_links(self, links: Iterable[TaskLog], elapsed: float) -> None:
        for link in links:
            if link not in self._links:
                self._links.add(link)
                self._line(elapsed, Text(f"{printable(link.name)}: {printable(link.uri)}"))

    def _say_what_is_left(self, progress: Progress) -> None:
        text = f"a job may go on: {printable(progress.message)}"
        if progress.meta:
            text += f"; its resource meta is {shown_meta(progress.meta)}"
        self._line(progress.elapsed, Text(text, "bold red"))

    def _line(self, elapsed: float, text: Text) -> None:
        self._to.print(Text(f"{elapsed:6.1f} s  ") + text, soft_wrap=True)

    # --- the live line

    def _picture(self) -> Table:
        progress = self._latest
        line = Text(self._task_type, "bold")
        line.append("  ").append(_state(progress))
        for link in progress.log_links:
            line.append("  ").append(printable(link.name), Style(link=printable(link.uri), underline=True))
        picture = Table.grid(padding=(0, 1))
        picture.add_column()
        picture.add_column(justify="right")
        picture.add_column(no_wrap=True, overflow="ellipsis")
        elapsed = progress.elapsed + self._clock() - self._told_at
        picture.add_row(self._spinner, f"{elapsed:.1f} s", line)
        return picture


def _state(progress: Progress) -> Text:
    word = _STAGES.get(progress.stage) or progress.state
    text = Text(word, _STYLES.get(progress.phase, "bold cyan"))
    style = Style(color="red") if progress.fault else Style.null()
    return text.append(f"  {printable(progress.said)}".rstrip(), style)
