"""How the process ends, whatever still runs in it: its signals, how long the end may take, and the threads that it does
not wait for.

A thread cannot be stopped, and the interpreter waits for every one before it exits. A connector's blocking method may
run for minutes after its caller was answered; so the process waits for its threads a second, then ends without them.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import NoReturn

__all__ = ["CLOSE_WITHIN", "Signals", "UnwaitedThreads", "leave", "say"]

log = logging.getLogger("connectors.server")

CLOSE_WITHIN = 5.0
"""Seconds after the grace within which everything is closed, or the process ends all the same."""
_THREADS_WITHIN = 1.0  # seconds for threads that only have to be told, such as those of a pool that was shut down


class Signals:
    """The first SIGTERM or SIGINT calls back, and starts the time within which the process ends; the second ends it at
    once: with exit code 1, or 130 for SIGINT.

    The handlers are the interpreter's, not the event loop's: they also work while the loop is blocked, and until the
    process is gone.
    """

    def __init__(self, within: float, *, delay: float = 0.0) -> None:
        """:param within: seconds from the first signal.
        :param delay: seconds more, where that is SIGTERM: what stops a server for good can wait until its callers are
            led elsewhere. A person who presses Ctrl-C does not.
        """
        self._within = within
        self._delay_of_sigterm = delay
        self.delay = 0.0
        """The seconds more that the first signal gave."""
        self._on_first: Callable[[], None] | None = None
        # SimpleQueue.put may interrupt itself, so a signal handler may call it; starting a thread there might not do
        self._watch: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def handle(self, on_first: Callable[[], None]) -> None:
        """Handle signals from now on. ``on_first`` is called in the signal handler."""
        self._on_first = on_first
        threading.Thread(target=self._end_in_time, name="connectors-end", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)

    def ended(self) -> None:
        """Everything is closed: there is nothing left to bound, and from now on one signal is enough."""
        self._on_first = None
        self._watch.put(False)

    def _received(self, number: int, _: FrameType | None) -> None:
        on_first, self._on_first = self._on_first, None
        if on_first is None:
            try:
                say("killed", "a second signal: ending at once")
            finally:  # a signal may come in the middle of writing a line, when no other can be written
                os._exit(130 if number == signal.SIGINT else 1)
        if number == signal.SIGTERM:
            self.delay = self._delay_of_sigterm
        self._watch.put(True)
        on_first()

    def _end_in_time(self) -> None:
        if not self._watch.get():
            return
        within = self._within + self.delay
        try:
            self._watch.get(timeout=within)
        except queue.Empty:
            log.error("not everything could be closed within %g s: ending without it", within)
            _exit(1)


class UnwaitedThreads(ThreadPoolExecutor):
    """The event loop's own pool, for what plugins and libraries hand to ``asyncio.to_thread``.

    Closing a loop waits for its pool: without bound in Python 3.11, five minutes from 3.12 on. For this one it does
    not.
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; those that run are left to :func:`leave`."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def leave(code: int) -> NoReturn:
    """End the process with an exit code: in the usual way where no thread holds it."""
    give_up = time.monotonic() + _THREADS_WITHIN
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    for thread in others:
        if not thread.daemon:
            thread.join(max(0.0, give_up - time.monotonic()))
    if held := sorted(thread.name for thread in others if thread.is_alive() and not thread.daemon):
        log.warning("ending without these threads, which still run: %s", ", ".join(held[:20]))
        _exit(code)
    sys.exit(code)


def say(event: str, message: str, *values: object) -> None:
    """Log a step in the server's life, under a name that scripts can look for."""
    log.info(message, *values, extra={"fields": {"event": event}})


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # closed, or nobody reads it
    os._exit(code)
