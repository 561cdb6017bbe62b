"""A batch's files: their records for the output, their lines for the log.

Both are JSON lines, one for each request: https://developers.openai.com/api/docs/guides/batch. They may be hundreds of
megabytes long, and are never held as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from connectors import InvalidRequest, LogLine, LogPage, NotFound
from connectors_openai._api import Api, checked_id
from connectors_openai._batch_states import FILES, errors_of
from connectors_openai._errors import NoSuchRange

__all__ = ["log_page", "records"]

_TOKEN = re.compile(r"(batch|error|output):(\d{1,15})")
_ORDER = ("batch", "error", "output")  # what went wrong comes first
_DEFAULT_LINES, _MOST_LINES = 100, 1_000
_LONGEST_LINE = 16 * 1024  # bytes of a line that are shown
_MOST_BYTES = 1024 * 1024  # of a page
_Line = tuple[bytes, int]
"""The line's beginning, and its whole length with the line's end, in bytes."""


async def records(api: Api, batch: Mapping[str, Any], kind: str, *, most: int) -> list[Any] | None:
    """What is in a file, one value per line; None where the batch has no such file, or it has more than ``most`` bytes.

    A line that is no JSON stays a text.

    :raises NotFound: the file is gone. :raises ConnectorError: as OpenAI says.
    """
    file_id = batch.get(FILES[kind])
    if not file_id:
        return None
    body = bytearray()
    async with aclosing(api.file(checked_id(file_id, "the batch"), timeout=api.half())) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > most:
                return None
    return [_record(line) for line in bytes(body).split(b"\n") if line.strip()]


async def log_page(api: Api, batch: Mapping[str, Any], *, lines: int, token: str) -> LogPage:
    """A page of what is wrong with the batch, then of its error file, then of its output file.

    :param lines: how many at most; 0 leaves it to the connector. :param token: of the page before, or "".
    :raises InvalidRequest: the token is none of this connector's. :raises ConnectorError: as OpenAI says.
    """
    where = _TOKEN.fullmatch(token or "batch:0")
    if where is None:
        raise InvalidRequest("the token is not one of an OpenAI batch's log")
    offset = int(where[2])
    wanted = min(lines, _MOST_LINES) if lines > 0 else _DEFAULT_LINES
    found: list[LogLine] = []
    size = 0
    for kind in _ORDER[_ORDER.index(where[1]) :]:
        async with aclosing(_lines(api, batch, kind, offset)) as following:
            async for beginning, length in following:
                if len(found) >= wanted or size >= _MOST_BYTES:
                    return LogPage(tuple(found), f"{kind}:{offset}")
                offset += length
                size += len(beginning)
                if beginning.strip():
                    found.append(_shown(kind, beginning, length))
        offset = 0
    return LogPage(tuple(found))


async def _lines(api: Api, batch: Mapping[str, Any], kind: str, offset: int) -> AsyncGenerator[_Line, None]:
    """The lines from an offset on: bytes of a file, sentences about the batch."""
    if kind == "batch":
        for sentence in errors_of(batch)[offset:]:
            yield sentence.encode(), 1
        return
    file_id = batch.get(FILES[kind])
    if not file_id:
        return
    try:
        file = api.file(checked_id(file_id, "the batch"), skip=offset)
        async with aclosing(file) as chunks, aclosing(_split(chunks)) as split:
            async for line in split:
                yield line
    except NoSuchRange:
        return
    except NotFound:
        yield b"the %s file is gone: OpenAI keeps it for a time only" % kind.encode(), 1


async def _split(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[_Line, None]:
    beginning, length = bytearray(), 0
    async for chunk in chunks:
        start = 0
        while start < len(chunk):
            end = chunk.find(b"\n", start) + 1 or len(chunk)
            beginning += chunk[start : min(end, start + _LONGEST_LINE - len(beginning))]
            length += end - start
            if chunk[end - 1] == 0x0A:
                yield bytes(beginning), length
                beginning, length = bytearray(), 0
            start = end
    if length:
        yield bytes(beginning), length


def _shown(kind: str, beginning: bytes, length: int) -> LogLine:
    text = beginning.decode("utf-8", "replace").strip()
    if length > len(beginning) and kind != "batch":
        text += f" … ({length} bytes)"
    return LogLine(f"{kind}: {text}", originator="USER")


def _record(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line.decode("utf-8", "replace")
