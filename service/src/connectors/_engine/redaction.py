"""Makes fit for strangers what a connector says: no secret in it, no half characters, and no end of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from connectors.models import Resource
from connectors.secrets import redact

__all__ = ["presentable", "redacted"]

_LONGEST_TEXT = 8_192  # characters
_NO_TEXT = (int, float, bool, type(None))


def presentable(text: object) -> str:
    """A message for people: secrets taken out, what UTF-8 cannot express replaced, and cut after 8,192 characters."""
    if text == "":
        return ""  # what most polls say
    plain = (text if isinstance(text, str) else repr(text))[: 2 * _LONGEST_TEXT]
    plain = redact(plain if plain.isascii() else plain.encode("utf-8", "replace").decode())
    return plain if len(plain) <= _LONGEST_TEXT else f"{plain[:_LONGEST_TEXT]} …"


def redacted(resource: Resource) -> Resource:
    """The resource with every secret that was handed out taken out of its message, links and ``custom_info``. Outputs
    are the task's data, and stay.
    """
    if resource.message == "" and not resource.log_links and resource.custom_info is None:
        return resource  # it says nothing
    texts = _flat_texts(resource)
    if texts is not None and redact(whole := "\0".join(texts)) == whole:
        # there is none: to look once through all of them takes half the time
        info = resource.custom_info
        return replace(resource, message=presentable(resource.message), custom_info=None if info is None else {**info})
    links = tuple(replace(each, uri=redact(each.uri), name=redact(each.name)) for each in resource.log_links)
    return replace(
        resource, message=presentable(resource.message), log_links=links, custom_info=_cleaned(resource.custom_info)
    )


def _flat_texts(resource: Resource) -> list[str] | None:
    """The texts of its links and ``custom_info``; None where that holds more than texts, numbers, and no value."""
    found: list[object] = [text for each in resource.log_links for text in (each.uri, each.name)]
    if resource.custom_info is not None:
        if type(resource.custom_info) is not dict:
            return None
        found += resource.custom_info
        found += [value for value in resource.custom_info.values() if type(value) not in _NO_TEXT]
    return cast("list[str]", found) if all(type(each) is str for each in found) else None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value
