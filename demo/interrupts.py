"""Turns the signals that end a program into an exception, so that what it started is ended too."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

__all__ = ["Interrupted", "watch"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The user, or the machine, wants the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_status = 128 + number


def watch() -> None:
    """Have the first signal raise :class:`Interrupted` in the main thread. Later ones are ignored: the ending that is
    under way takes a few seconds at most, and must not be cut short.
    """
    for number in _SIGNALS:
        signal.signal(number, _received)


def _received(number: int, _: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)
