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
from abc import abstractmethod
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
_Args = tuple[object, ...]


class LineFormatter(logging.Formatter):
    """Makes a line, of a record or of what a record would hold."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        fields: Mapping[str, Any] = getattr(record, "fields", None) or {}
        trace = _trace(self, record)
        return self.line(record.created, record.levelname, record.name, record.getMessage(), fields, trace=trace)

    @abstractmethod
    def line(
        self, created: float, level: str, logger: str, message: str, fields: Mapping[str, Any], *, trace: str = ""
    ) -> str:
        """The line.

        :param created: seconds since 1970. :param trace: a traceback, already without secrets.
        """


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes a line at a time, and sees to it that it leaves."""

    def __init__(self, stream: TextIO, lines: LineFormatter) -> None:
        super().__init__(stream)
        self.setFormatter(lines)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        try:
            self.stream.write(self.format(record) + "\n")
            self.stream.flush()
        except Exception:  # noqa: BLE001 - as logging's own handlers do: a line that fails fails no call
            self.handleError(record)

    def put(self, logger: logging.Logger, level: int, message: str, args: _Args, fields: Mapping[str, Any]) -> None:
        """As :meth:`handle` of a record of these, which is made only where writing fails."""
        self.acquire()
        try:
            name = logging.getLevelName(level)
            line = self._lines.line(time.time(), name, logger.name, message % args, fields)
            self.stream.write(line + "\n")
            self.stream.flush()
        except Exception:  # noqa: BLE001 - as above
            self.handleError(_record(logger, level, message, args, fields))
        finally:
            self.release()


_ALIKE = vars(logging.LogRecord("", logging.INFO, "", 0, "", (), None))
"""What is the same in all records that are made here."""


def write(logger: logging.Logger, level: int, message: str, args: _Args, fields: Mapping[str, Any]) -> None:
    """As ``logger.log(level, message, *args, extra={"fields": fields})``, at a sixth of its cost: nobody looks for the
    line of code that it comes from, and no record is made where nothing but a :class:`LineHandler` would see it. Ask
    first whether the level is enabled.
    """
    handler = _only_handler(logger, level)
    if handler is not None:
        handler.put(logger, level, message, args, fields)
    else:
        logger.handle(_record(logger, level, message, args, fields))


def _only_handler(logger: logging.Logger, level: int) -> LineHandler | None:
    """The handler that the logger's records reach and that takes them all, where there is just this one."""
    if logger.filters or logger.disabled:
        return None
    only: logging.Handler | None = None
    at: logging.Logger | None = logger
    while at is not None:
        if at.handlers:
            if only is not None or len(at.handlers) > 1:
                return None
            only = at.handlers[0]
        at = at.parent if at.propagate else None
    return only if type(only) is LineHandler and not only.filters and only.level <= level else None


def _record(
    logger: logging.Logger, level: int, message: str, args: _Args, fields: Mapping[str, Any]
) -> logging.LogRecord:
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
    return record


class JsonFormatter(LineFormatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, then the line's own fields."""

    def line(
        self, created: float, level: str, logger: str, message: str, fields: Mapping[str, Any], *, trace: str = ""
    ) -> str:
        """The line."""
        message, fields = _clean_texts(message, fields)
        line: dict[str, Any] = {"time": _time(created), "level": level.lower(), "logger": logger, "message": message}
        line = {**line, **fields, **line} if fields else line
        if trace:
            line["exception"] = trace
        return _quoted(line)


class ConsoleFormatter(LineFormatter):
    """Time, level, message, then the line's own fields as ``name=value``; a traceback follows, indented."""

    def line(
        self, created: float, level: str, logger: str, message: str, fields: Mapping[str, Any], *, trace: str = ""
    ) -> str:
        """The line."""
        message, fields = _clean_texts(message, fields)
        if not message.isprintable():
            message = message.translate(_ESCAPES)
        line = f"{_time(created)} {level:<7} {message}"
        for name, value in fields.items():
            kind = type(value)
            if kind is int or kind is float or (kind is str and _is_plain(value)):
                line += f" {name}={value}"
            else:
                line += f" {name}={_shown(value)}"
        if trace:
            line += "".join(f"\n    {part.translate(_ESCAPES)}" for part in trace.split("\n"))
        return line


def _clean_texts(message: str, fields: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """A message and its fields without secrets. They are looked for before quoting changes how they are written."""
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
