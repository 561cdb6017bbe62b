"""A task's URL: checked as it was written, then filled with values that change neither its host nor its structure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from connectors import InvalidRequest
from connectors_http._hosts import Origin, origin_of
from connectors_http._templates import Placeholder, Values, pieces

__all__ = ["Url", "UrlTemplate", "checked"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STRUCTURE = "!$&'()*+,;=:@/%-._~"  # what a path may hold as it is (RFC 3986 §3.3), and the sign of what is encoded


@dataclass(frozen=True)
class Url:
    """A whole URL whose parts are known, so that what was checked is what is called."""

    origin: Origin
    path: str
    query: str = ""

    def with_query(self, more: str) -> Url:
        """The URL with more parameters behind its own."""
        return Url(self.origin, self.path, "&".join(part for part in (self.query, more) if part))

    def __str__(self) -> str:
        return f"{self.origin}{self.path}" + (f"?{self.query}" if self.query else "")


@dataclass(frozen=True)
class UrlTemplate:
    """A URL whose path and query may hold placeholders."""

    origin: Origin
    path: str
    query: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The template that a text stands for. A fragment is left out: it is not sent.

        :raises ValueError: it is no URL of http or https; it holds credentials; or a placeholder stands before its
            path.
        """
        if _CONTROL.search(text):
            raise ValueError("url: must be a URL without control characters")
        try:
            parts = urlsplit(text.strip())
            if "{" in parts.netloc or "{" in text.partition("://")[0]:
                raise ValueError("placeholders may stand in its path and its query alone")
            origin = origin_of(parts)
            found = [piece for part in (parts.path, parts.query) for piece in pieces(part)]
        except ValueError as error:
            raise ValueError(f"url: {error}") from error
        if any(isinstance(piece, Placeholder) and piece.root == "secrets" for piece in found):
            raise ValueError("url: secrets may stand in headers alone")
        return cls(origin, parts.path or "/", parts.query)

    def filled(self, values: Values) -> Url:
        """The URL of one call.

        :raises InvalidRequest: a value is missing or has no text; or the path would lose a segment, or gain none, where
            a value is empty or consists of dots.
        """
        segments = []
        for segment in self.path.split("/"):
            text = values.text(segment, quote=_encoded, literal=_in_path)
            if any(isinstance(piece, Placeholder) for piece in pieces(segment)) and unquote(text) in {"", ".", ".."}:
                raise InvalidRequest(
                    f"custom.url: {segment[:200]!r} of its path is empty, '.' or '..' with these values"
                )
            segments.append(text)
        return Url(self.origin, "/".join(segments), values.text(self.query, quote=_encoded, literal=_in_query))


def checked(text: str) -> Url:
    """A URL that a service answered with, in parts.

    :raises ValueError: it is no URL of http or https, or holds credentials.
    """
    if _CONTROL.search(text):
        raise ValueError("it holds control characters")
    parts = urlsplit(text)
    return Url(origin_of(parts), _in_path(parts.path or "/"), _in_query(parts.query))


def _encoded(value: str) -> str:
    return quote(value, safe="")


def _in_path(literal: str) -> str:
    return quote(literal, safe=_STRUCTURE)


def _in_query(literal: str) -> str:
    return quote(literal, safe=_STRUCTURE + "?")
