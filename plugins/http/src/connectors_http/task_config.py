"""What a task says about its call: the words of ``custom``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, fields
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Final, Self

from connectors import InvalidRequest
from connectors_http._templates import placeholders
from connectors_http._url import UrlTemplate

__all__ = ["METHODS", "WebhookConfig"]

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a header's name (RFC 9110 §5.1)
_RANGE = re.compile(r"([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?")
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")  # RFC 6901 §3
_THE_CONNECTIONS_OWN: Final = frozenset(
    ("connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization")
) | frozenset(("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"))
"""Headers that say where a request goes and how it is framed (RFC 9110 §7, RFC 9112 §6): not a task's to choose."""
_OTHER_NAMES: Final = {"timeout_sec": "timeout"}
_NOT_OF_THE_CALL: Final = frozenset(("secrets", "configs", "dynamic_inputs"))
"""Flyte 2's connection; and the types of the inputs, which the task's interface has too."""


@dataclass(frozen=True, kw_only=True)
class WebhookConfig:
    """A call, as a workflow's author describes it; :meth:`to_custom` is what the task's ``custom`` must hold.

    Strings of ``url``, ``headers`` and ``data`` may hold ``{inputs.name}``, and those of ``headers``
    ``{secrets.name}``.

    :raises ValueError: a field is not as it should be; the message names it.
    """

    url: str
    """Where to. Placeholders may stand in its path and its query, where their values are percent-encoded."""

    method: str = "POST"
    """GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with the request."""

    data: Any = field(default_factory=dict)
    """For GET and HEAD the parameters of the query, by name. Otherwise the body: JSON, or a form where the header
    Content-Type says ``application/x-www-form-urlencoded``; a string is sent as text, and one that is nothing but a
    placeholder as its value."""

    timeout: float | timedelta = 10.0
    """Seconds for the whole call, above 0."""

    show_data: bool = False
    """Whether the output ``info`` has the data that was sent."""

    show_url: bool = False
    """Whether the output ``info`` has the URL that was called."""

    expected_statuses: tuple[int | str, ...] = ("200-299",)
    """The statuses of a call that succeeded: numbers, and ranges such as ``"200-299"``."""

    outputs: Mapping[str, str] = field(default_factory=dict)
    """Outputs by name, each with the place of its value in the JSON of the answer: a JSON pointer (RFC 6901)."""

    idempotent: bool = False
    """Whether a repeat of a POST or a PATCH does no harm, because the service honours the header Idempotency-Key, say:
    the call may then be made again after an answer that was lost. With the other methods it never does harm (RFC 9110
    §9.2.2)."""

    def __post_init__(self) -> None:
        UrlTemplate.parse(self.url)
        if self.method not in METHODS:
            raise ValueError(f"method: {self.method!r} must be one of {', '.join(METHODS)}")
        if not isinstance(self.headers, Mapping):
            raise ValueError("headers: must be a map of names to strings")
        self._check_headers()
        self._check_data()
        if not _is_number(self.seconds) or not 0 < self.seconds < math.inf:
            raise ValueError("timeout: must be a number of seconds above 0")
        for name in ("show_data", "show_url", "idempotent"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: must be true or false")
        if not self.expects:
            raise ValueError("expected_statuses: must name at least one status")
        self._check_outputs()

    @property
    def seconds(self) -> float:
        """:attr:`timeout` in seconds."""
        return self.timeout.total_seconds() if isinstance(self.timeout, timedelta) else self.timeout

    @property
    def expects(self) -> tuple[range, ...]:
        """:attr:`expected_statuses` as ranges.

        :raises ValueError: one is neither a status nor a range of them.
        """
        if not isinstance(self.expected_statuses, list | tuple):
            raise ValueError("expected_statuses: must be a list")
        return tuple(map(_statuses, self.expected_statuses))

    def to_custom(self) -> dict[str, Any]:
        """The ``custom`` of a task that makes this call: what differs from its default, under the names that Flyte's
        own webhook task has.
        """
        values = {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name in {"url", "method"} or getattr(self, item.name) != getattr(_PLAIN, item.name)
        }
        for name in ("headers", "outputs"):
            if name in values:
                values[name] = dict(values[name])
        if "expected_statuses" in values:
            values["expected_statuses"] = list(values["expected_statuses"])
        if values.pop("timeout", None) is not None:
            values["timeout_sec"] = self.seconds
        return values

    @classmethod
    def of(cls, custom: Mapping[str, Any]) -> Self:
        """What a task's ``custom`` says.

        :raises InvalidRequest: a key is unknown or missing, or its value is not as it should be.
        """
        known = {item.name for item in fields(cls)}
        values: dict[str, Any] = {}
        for key, value in custom.items():
            name = _OTHER_NAMES.get(key, key)
            if name not in known:
                if key in _NOT_OF_THE_CALL:
                    continue
                raise InvalidRequest(f"custom.{key[:80]} is not known{_expected(key, known | _OTHER_NAMES.keys())}")
            if name in values:
                raise InvalidRequest(f"custom.{key} and custom.{name} say the same: leave one out")
            if value is not None:
                values[name] = value
        if not isinstance(values.get("url"), str):
            raise InvalidRequest("custom.url is missing: it must be a URL such as https://api.example.com/orders")
        if "method" in values:
            values["method"] = str(values["method"]).upper()
        try:
            return cls(**values)
        except ValueError as error:
            raise InvalidRequest(f"custom.{error}") from error

    def _check_headers(self) -> None:
        seen = set()
        sent: Mapping[Any, Any] = self.headers  # as a request brings them
        for name, value in sent.items():
            if not isinstance(name, str) or not _TOKEN.fullmatch(name):
                raise ValueError(f"headers: {str(name)[:80]!r} is not the name of a header")
            if not isinstance(value, str):
                raise ValueError(f"headers, {name}: must be a string")
            if name.lower() in _THE_CONNECTIONS_OWN:
                raise ValueError(f"headers, {name}: is not a task's to set")
            if name.lower() in seen:
                raise ValueError(f"headers, {name}: is there twice")
            seen.add(name.lower())
            _check(f"headers, {name}", value, ("inputs", "secrets"))

    def _check_data(self) -> None:
        if self.method in {"GET", "HEAD"} and not isinstance(self.data, Mapping):
            raise ValueError(f"data: must be a map of parameters to values, since the method is {self.method}")
        _check("data", self.data, ("inputs",))

    def _check_outputs(self) -> None:
        if not isinstance(self.outputs, Mapping):
            raise ValueError("outputs: must be a map of names to JSON pointers")
        wanted: Mapping[Any, Any] = self.outputs
        for name, pointer in wanted.items():
            if name == "info" or not isinstance(pointer, str) or not _POINTER.fullmatch(pointer):
                reason = "is the name of the whole answer" if name == "info" else "must be a JSON pointer such as /id"
                raise ValueError(f"outputs, {str(name)[:80]}: {reason}")


def _check(name: str, value: Any, roots: tuple[str, ...]) -> None:
    try:
        found = list(placeholders(value))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    for placeholder in found:
        if placeholder.root not in roots:
            raise ValueError(f"{name}: {placeholder} may stand in headers alone")


def _expected(key: str, known: Set[str]) -> str:
    """The end of a message about a key that is not known."""
    close = get_close_matches(key, sorted(known), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{hint or ';'} expected {', '.join(sorted(known))}"


def _statuses(item: Any) -> range:
    found = _RANGE.fullmatch(str(item)) if isinstance(item, int | str) else None
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise ValueError(f"expected_statuses: {str(item)[:80]!r} must be a status, or a range such as '200-299'")
    return range(first, last + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_PLAIN: Final = WebhookConfig(url="https://example.com")
