"""How a task is run from Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from connectors.local._calls import Calls
from connectors.local._outcome import Progress, shown_meta

__all__ = ["RunOptions", "progress_on_terminal"]


def progress_on_terminal() -> Callable[[Progress], None]:
    """Says on standard error, where that is a terminal, what changes in a run: a line each."""
    last: list[str] = [""]

    def tell(progress: Progress) -> None:
        if not sys.stderr.isatty():
            return
        state = progress.state if progress.stage == "running" else progress.stage
        text = f"{state}: {progress.said}" if progress.said else state
        if progress.stage == "left" and progress.meta:
            text += f"; the job's resource meta is {shown_meta(progress.meta)}"
        if progress.stage == "running":
            text += "".join(f"\n  {link.name}: {link.uri}" for link in progress.log_links)
        if text != last[0]:
            last[0] = text
            sys.stderr.write(f"[{progress.elapsed:6.1f} s] {text}\n")
            sys.stderr.flush()

    return tell


@dataclass(frozen=True)
class RunOptions:
    """How a task is run: the attribute ``local_run`` of a task, for all its runs."""

    output_prefix: str | None = None
    """A local path, or the URL of a store that fsspec knows: each run has a folder under it, with its ``inputs.pb`` and
    ``outputs.pb``. Tasks whose container is given a place need one that their platform can reach."""
    timeout: float | None = None
    """Seconds for a run; None is no bound. What a task's own metadata says is for the backend."""
    poll_interval: float = 1.0
    """Seconds between polls, above 0."""
    end_within: float = 60.0
    """Seconds that deleting the job may take, where a run is broken off."""
    on_progress: Callable[[Progress], None] | None = None
    """Told of each change. None: what changes is said on standard error, where that is a terminal."""
    via: Callable[[], AbstractAsyncContextManager[Calls]] | None = None
    """Who answers: called, and entered, for each run. None: :class:`connectors.local.InProcess`."""
