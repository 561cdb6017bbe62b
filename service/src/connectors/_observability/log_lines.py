"""How a log record becomes a line: for people, or as JSON for machines.

Every create and delete writes two lines, so what happens for each of their fields is kept short: one look for secrets
goes over all the texts of a line, and each text is looked at by itself only where that one finds something.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from connectors.secrets import redact

__all__ = ["ConsoleFormatter", "JsonFormatter", "LineHandler", "write"]

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {10: "\\n", 13: "\\r", 9: "\\t"}
_ESCAPES |= {code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""What would move a terminal's cursor, end a line, or turn the direction of the text. None of it is printable."""
_is_plain = re.compile(r"[!#-<>-~]+").fullmatch
"""Texts that stand in a console line as they are: printable ASCII without a space, a quote or an equals sign."""

_quoted = json.JSONEncoder().encode


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes a line at a time, and sees to it that it leaves."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        try:
            self.stream.write(self.format(record) + "\n")
            self.stream.flush()
        except Exception:  # noqa: BLE001 - as logging's own handlers do: a line that fails fails no call
            self.handleError(record)


_ALIKE = vars(logging.LogRecord("", logging.INFO, "", 0, "", (), None))
"""What is the same in all records that :func:`write` makes."""


def write(
    logger: logging.Logger, level: int, message: str, args: tuple[object, ...], fields: Mapping[str, Any]
) -> None:
    """As ``logger.log(level, message, *args, extra={"fields": fields})``, at a quarter of its cost: nobody looks for
    the line of code that it comes from. Ask first whether the level is enabled.
    """
    record = object.__new__(logging.LogRecord)
    created = time.time()
    record.__dict__.update(
        _ALIKE,
        name=logger.name,
        levelno=level,
        levelname=logging.getLevelName(level),
        msg=message,
        args=args,
        created=created,
        msecs=created % 1 * 1_000 // 1,
        relativeCreated=_ALIKE["relativeCreated"] + (created - _ALIKE["created"]) * 1_000,
        thread=threading.get_ident(),
        threadName=threading.current_thread().name,
        fields=fields,
    )
    logger.handle(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, then the line's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        message, fields = _clean_texts(record)
        line: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        line = {**line, **fields, **line} if fields else line
        if trace := _trace(self, record):
            line["exception"] = trace
        return _quoted(line)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message, then the line's own fields as ``name=value``; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        message, fields = _clean_texts(record)
        if not message.isprintable():
            message = message.translate(_ESCAPES)
        line = f"{_time(record.created)} {record.levelname:<7} {message}"
        for name, value in fields.items():
            kind = type(value)
            if kind is int or kind is float or (kind is str and _is_plain(value)):
                line += f" {name}={value}"
            else:
                line += f" {name}={_shown(value)}"
        if trace := _trace(self, record):
            line += "".join(f"\n    {part.translate(_ESCAPES)}" for part in trace.split("\n"))
        return line


def _clean_texts(record: logging.LogRecord) -> tuple[str, Mapping[str, Any]]:
    """The record's message and fields without secrets. They are looked for before quoting changes how they are
    written.
    """
    message = record.getMessage()
    fields: Mapping[str, Any] = getattr(record, "fields", None) or {}
    texts = [message]
    for value in fields.values():
        kind = type(value)
        if kind is str:
            texts.append(value)
        elif kind is not int and kind is not float and kind is not bool:
            break  # what is nested, or of another class, is gone through
    else:
        together = "\n".join(texts)
        if redact(together) == together:
            return message, fields
    return redact(message), {name: _clean(value) for name, value in fields.items()}


def _clean(value: Any) -> Any:
    """``value`` as JSON has it, without secrets."""
    if isinstance(value, Mapping):
        return {str(_clean(name)): _clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


def _shown(clean: Any) -> str:
    if isinstance(clean, str) and clean and clean.isprintable() and not set(clean) & set(' "='):
        return clean
    return _quoted(clean)


_second = (0, "")
"""The second that was written last, and how."""


def _time(created: float) -> str:
    global _second  # noqa: PLW0603 - both values change at once, also where threads log
    second, text = _second
    if second != int(created):
        second = int(created)
        text = datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")
        _second = (second, text)
    return f"{text}.{int((created - second) * 1_000):03d}Z"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info and not record.stack_info:
        return ""
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return redact("\n".join(parts))
