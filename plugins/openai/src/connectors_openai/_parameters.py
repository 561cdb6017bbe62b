"""What tasks hold, checked before anything is sent: identifiers, and the parameters of a request."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any

from connectors import Context, InvalidRequest

__all__ = ["Parameters", "identifier", "is_identifier", "is_name", "meant", "text_input"]

# Met by every organisation, project, batch and file of OpenAI's, and harmless in a path and in a header.
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")
_NOT_FOR_TASKS = ("extra_headers", "extra_query")
"""The SDK's own arguments, which flytekit's connector hands on: with them a task could send headers in the operator's
name."""
_MOST_COMPARED = 100  # keys of a custom: comparing takes some microseconds for each


def is_identifier(value: str) -> bool:
    """Whether OpenAI could have given this name to something."""
    return _IDENTIFIER.fullmatch(value) is not None


def is_name(value: Any) -> bool:
    """Whether it is text with anything to read in it."""
    return isinstance(value, str) and bool(value.strip())


def identifier(custom: Mapping[str, Any], key: str) -> str:
    """The identifier at ``custom.<key>``, "" where there is none.

    :raises InvalidRequest: it is no identifier.
    """
    value = custom.get(key)
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not is_identifier(value):
        raise InvalidRequest(f"the task's custom.{key} must be an identifier of OpenAI's: letters, digits, '_' and '-'")
    return value


def text_input(ctx: Context, name: str) -> str:
    """The input ``name``.

    :raises InvalidRequest: it is missing, or not text.
    """
    value = ctx.inputs.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"the task needs the input {name!r}, a text")
    return value


def meant(custom: Mapping[str, Any], key: str) -> str:
    """The end of a message that something of ``custom.<key>`` is missing: a key that resembles it, if there is one.
    Keys that are not known are ignored otherwise, as Flyte 1's connectors ignore them.
    """
    others = (name for name in custom if name not in {key, "openai_organization", "openai_project"})
    close = get_close_matches(key, islice(others, _MOST_COMPARED), n=1)
    return f"; custom has {close[0]!r}: did you mean {key!r}?" if close else ""


@dataclass(frozen=True)
class Parameters:
    """A request's parameters, as a task gives them in ``custom.<key>``."""

    body: Mapping[str, Any]
    """What is sent, as JSON."""
    timeout: float
    """Seconds that the task allows for the answer; infinite where it does not say."""

    @classmethod
    def of(cls, custom: Mapping[str, Any], key: str, *, overwritten: tuple[str, ...] = ()) -> Parameters:
        """Those of a task. ``extra_body`` and ``timeout`` mean what they mean to the SDK.

        :param overwritten: names that are left out, since the connector fills them in.
        :raises InvalidRequest: there is one that no task may choose, or that is not what it must be.
        """
        given = custom.get(key)
        if given is None:
            given = {}
        if not isinstance(given, Mapping):
            raise InvalidRequest(f"the task's custom.{key} must map parameters to values")
        for name in _NOT_FOR_TASKS:
            if given.get(name):
                raise InvalidRequest(f"the task's custom.{key}.{name} is not for a task to choose: take it out")
        more = given.get("extra_body")
        if more is not None and not isinstance(more, Mapping):
            raise InvalidRequest(f"the task's custom.{key}.extra_body must map parameters to values")
        body = {**given, **(more or {})}
        for name in (*_NOT_FOR_TASKS, "extra_body", "timeout", *overwritten):
            body.pop(name, None)
        return cls(body, _timeout(given.get("timeout"), key))


def _timeout(value: Any, key: str) -> float:
    if value is None:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidRequest(f"the task's custom.{key}.timeout must be a number of seconds above 0")
    return float(value)
