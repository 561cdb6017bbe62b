"""Python objects as JSON-like ones, for what goes into a msgpack or a Struct value.

The forms are those that Flyte's SDKs give the fields of a dataclass, so that their decoders read them: a datetime as
ISO 8601, a timedelta as seconds, an enum's member as its value.
"""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, datetime, timedelta
from typing import Any

from connectors import models
from connectors._literals.faults import Fault, type_name
from connectors._literals.times import as_utc

__all__ = ["WIRE_MODELS", "checked_text", "is_record", "plain"]

WIRE_MODELS = (
    models.Binary,
    models.Blob,
    models.ErrorValue,
    models.OffloadedLiteral,
    models.Schema,
    models.StructuredDataset,
)
"""Values that have a literal of their own, and no agreed form inside another value."""


def is_record(value: object) -> bool:
    """Whether it is an instance of a dataclass that stands for plain data."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and not isinstance(value, WIRE_MODELS)


def plain(value: Any) -> Any:
    """One step towards JSON-like: what is inside the answer may need it too.

    :raises Fault: for a type that has no such form.
    """
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime):
        return as_utc(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if is_record(value):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, WIRE_MODELS):
        raise Fault(f"a {type_name(value)} is a value of its own, and cannot stand inside a dict or a dataclass")
    raise Fault(f"no literal can hold a value of type {type_name(value)}")


def checked_text(value: Any) -> str:
    """The text, as a plain ``str``.

    :raises Fault: for what is no text, and for a lone surrogate, which UTF-8 cannot express.
    """
    if not isinstance(value, str):
        raise Fault(f"text is needed, got {type_name(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Fault("text that is not valid Unicode (a lone surrogate)") from None
    return str(value)
