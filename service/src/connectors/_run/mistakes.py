"""What a person got wrong: in the task's file, in an input, in a flag."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["Mistake", "did_you_mean"]


class Mistake(Exception):
    """Nothing has been run. The text names the place, and what was expected there."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that does not exist."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there {'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else "; there are none"
