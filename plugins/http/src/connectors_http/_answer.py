"""From a service's answer to the task's outputs, or to the error that it means."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from email.message import Message
from typing import Any, Final

from connectors import ConnectorError, HttpResponse, Interface, Phase, Resource, ResourceError, error_for_status
from connectors.secrets import redact
from connectors_http._exchange import Answer, AnswerLost
from connectors_http.task_config import WebhookConfig

__all__ = ["resource"]

_REFUSED: Final = frozenset((425, 429))
"""The service says that it did not begin (RFC 8470 §5.2, RFC 6585 §4); so does a 503 that says when to come again."""
_PASSING: Final = frozenset((408, 500, 502, 503, 504))
_CHARSETS: Final = frozenset(("utf-8", "us-ascii", "iso-8859-1", "windows-1252", "utf-16", "shift_jis", "gb18030"))
_LONGEST_TEXT = 2000  # characters of an answer in a message
_DEEPEST = 50  # levels of JSON: what reads the outputs stops at 100 levels of messages, two for each of these
_INT64 = range(-(2**63), 2**63)


def resource(answer: Answer, config: WebhookConfig, interface: Interface) -> Resource:
    """What the task gets. An answer whose status is not expected fails it, as one that lacks a value does which the
    outputs name.

    :raises ConnectorError: the status is one of a passing fault, and the request may be sent again.
    """
    response = answer.response
    text = redact(_text(response), answer.request.secrets)
    info = {
        "status_code": response.status,
        "method": answer.request.method,
        "host": str(answer.request.url.origin),
        "redirects": answer.redirects,
    }
    if not any(response.status in each for each in config.expects):
        shown = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"
        message = f"{answer.request.url.origin} answered HTTP {response.status}" + (f": {shown}" if shown else "")
        _raise_if_passing(answer, message)
        code = ResourceError(f"HTTP_{response.status}", origin="USER")
        return Resource(Phase.FAILED, message, custom_info=info, error=code)
    parsed = _parsed(response, text)
    outputs: dict[str, Any] = {}
    if "info" in interface.outputs or not interface.outputs:
        outputs["info"] = _info(answer, config, text, parsed)
    for name, pointer in config.outputs.items():
        try:
            outputs[name] = _at(parsed, pointer)
        except LookupError as error:
            reason = f"the output {name!r}: {error.args[0]}"
            code = ResourceError("UNEXPECTED_ANSWER", origin="USER")
            return Resource(Phase.FAILED, reason, custom_info=info, error=code)
    return Resource(Phase.SUCCEEDED, f"HTTP {response.status}", outputs=outputs, custom_info=info)


def _raise_if_passing(answer: Answer, message: str) -> None:
    response, repeatable = answer.response, answer.request.repeatable
    if response.status not in _REFUSED | _PASSING:
        return
    error: ConnectorError = error_for_status(response.status, message, response.headers)
    if repeatable or response.status in _REFUSED or (response.status == 503 and error.retry_after is not None):
        raise error
    raise AnswerLost(f"{message}; it may have carried the {answer.request.method} out, so it is not sent again")


def _info(answer: Answer, config: WebhookConfig, text: str, parsed: tuple[Any] | None) -> Mapping[str, Any]:
    found: dict[str, Any] = {"status_code": answer.response.status, "response_data": text}
    if parsed is not None:
        found["response_json"] = parsed[0]
    if config.show_data:
        found["input_data"] = answer.request.data
    if config.show_url:
        found["url"] = str(answer.request.url)
    return found


def _text(response: HttpResponse) -> str:
    charset = _content_type(response).get_content_charset("utf-8")
    return response.body.decode(charset if charset in _CHARSETS else "utf-8", "replace")


def _content_type(response: HttpResponse) -> Message:
    found = Message()
    found["Content-Type"] = response.headers.get("Content-Type", "text/plain")
    return found


def _parsed(response: HttpResponse, text: str) -> tuple[Any] | None:
    """The JSON of an answer that says that it is JSON; None where there is none, or none that outputs can hold."""
    kind = _content_type(response).get_content_type()
    if kind != "application/json" and not kind.endswith("+json"):
        return None
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is JSON, and no text
    except (ValueError, RecursionError):
        return None
    return (value,) if _can_be_held(value, _DEEPEST) else None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _can_be_held(value: Any, levels: int) -> bool:
    if isinstance(value, dict | list):
        items: Sequence[Any] = list(value.values()) if isinstance(value, dict) else value
        return levels > 0 and all(_can_be_held(item, levels - 1) for item in items)
    return not isinstance(value, int) or value in _INT64


def _at(parsed: tuple[Any] | None, pointer: str) -> Any:
    """What a JSON pointer finds (RFC 6901 §4). :raises LookupError: nothing; the text says why."""
    if parsed is None:
        raise LookupError("the answer is not JSON")
    found, walked = parsed[0], ""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        walked += f"/{part}"
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isascii() and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise LookupError(f"the answer has nothing at {walked[:200]}")
    return found
