"""What OpenAI refuses in its own way."""

from __future__ import annotations

from connectors import InvalidRequest

__all__ = ["ContentFiltered", "NoSuchRange"]


class ContentFiltered(InvalidRequest):
    """The content filter stopped the request."""


class NoSuchRange(InvalidRequest):
    """The file ends before what was asked for."""
