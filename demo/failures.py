"""What stops the demo, as one line for the person who started it."""

from __future__ import annotations

__all__ = ["DemoError"]


class DemoError(Exception):
    """The demo cannot go on; the text is one line that says what is wrong and, where it is known, what to do."""
