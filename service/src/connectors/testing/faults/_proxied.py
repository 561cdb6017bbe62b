"""The requests that a proxy sees, and what it may do to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["EVERY_REQUEST", "Fault", "ProxiedRequest", "Route"]

_ACTIONS = ("answer", "lose", "cut", "hang", "slow", "rewrite")


@dataclass(frozen=True)
class ProxiedRequest:
    """A request as it arrived."""

    method: str
    path: str
    """Without the query, percent-encoding undone."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes = field(repr=False)
    at: float
    """On the event loop's clock, in seconds."""


@dataclass(frozen=True)
class Route:
    """Some of the requests: those of a method, and of a path. ``EVERY_REQUEST`` is all of them."""

    method: str = ""
    """"": any."""
    path: str = ""
    """A regular expression for the whole path, without the query; "": any."""

    def __call__(self, request: ProxiedRequest) -> bool:
        """Whether the request is one of them."""
        return self.method in {"", request.method} and (not self.path or bool(re.fullmatch(self.path, request.path)))


EVERY_REQUEST: Final = Route()


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong on the way to the platform and back. Times are in seconds.

    ``answer``: the answer is ``status``, ``headers`` and ``body``. ``lose``: the connection ends without an answer.
    ``cut``: the platform's answer, whose body breaks off halfway. ``hang``: there is no answer, and the connection
    stays open until the caller gives up, or the proxy ends. ``slow``: the request waits for ``delay`` first, and goes
    on. ``rewrite``: the platform's answer, with the body that ``rewrite`` makes of its own.
    """

    action: Literal["answer", "lose", "cut", "hang", "slow", "rewrite"]
    requests: Callable[[ProxiedRequest], bool] = EVERY_REQUEST
    """Which it is for."""
    committed: bool = False
    """Whether the platform gets the request nevertheless: answer, lose, hang. (It does with cut, slow and rewrite.)"""
    times: int | None = None
    """How many requests meet it; None: no bound."""
    seconds: float | None = None
    """For how long it lasts, from when it is set; None: until it is cleared."""
    probability: float = 1.0
    """Of a request to meet it."""
    delay: float = 0.0
    """Also before the others."""
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[ProxiedRequest], bytes] = b""
    rewrite: Callable[[bytes], bytes] = bytes

    def __post_init__(self) -> None:
        """:raises ValueError: it is no fault that there is."""
        if self.action not in _ACTIONS:
            raise ValueError(f"a fault's action is one of {', '.join(_ACTIONS)}")

    def body_for(self, request: ProxiedRequest) -> bytes:
        """What ``answer`` answers to this request."""
        return self.body if isinstance(self.body, bytes) else self.body(request)
