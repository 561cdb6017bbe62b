"""Task templates as Flyte's own commands write them to files.

``pyflyte serialize`` and ``pyflyte package`` write a ``flyteidl.admin.TaskSpec`` for each task (``…_1.pb``), Flyte 2's
SDK sends a ``flyteidl2.task.TaskSpec``; both hold the template as field 1. A template looks the same in both protocols:
the entries of Flyte 1's map of variables are Flyte 2's list of them.
"""

from __future__ import annotations

from connectors._messages.decoding import Malformed, check, parse, payloads
from connectors._messages.templates import read_template
from connectors._proto.flyteidl import core
from connectors.errors import InvalidRequest
from connectors.models import TaskTemplate

__all__ = ["read_serialised_template"]


def read_serialised_template(data: bytes) -> TaskTemplate:
    """The task in a serialised ``TaskTemplate`` or ``TaskSpec``, of either protocol.

    :raises InvalidRequest: there is no task in it, or a part of it has no Python form; the message names it.
    """
    for each in (data, _first_field(data)):
        message = _template(each)
        if message is not None:
            return read_template(message)
    raise InvalidRequest("the bytes are neither a TaskTemplate nor a TaskSpec of Flyte's")


def _template(data: bytes) -> core.TaskTemplate | None:
    """The template that the bytes are, None if they are something else.

    Protobuf does not say which message bytes are. A template names its type in words; where another message's bytes
    pass for a template, what stands there is a message, which begins with a character that no word has.
    """
    try:
        message = parse(core.TaskTemplate, data)
    except Malformed:
        return None
    return message if message.type and message.type.isprintable() else None


def _first_field(data: bytes) -> bytes:
    try:
        check(core.Void, data)  # of which every field is unknown: only the framing is judged
    except Malformed:
        return b""
    return b"".join(content for number, content, _ in payloads(data) if number == 1 and isinstance(content, bytes))
