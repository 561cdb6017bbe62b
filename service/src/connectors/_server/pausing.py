"""The file of the kill switch: which task types and plugins are paused, read again while the server runs."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from connectors._engine.pauses import EVERYTHING, Pauses
from connectors._settings import Settings, nearest

__all__ = ["PausedFile", "faults", "listed"]

log = logging.getLogger("connectors.server")

LOOK_EVERY_S = 0.5
_MOST_BYTES = 64 * 1024
_NAMED = 20


class _Unusable(Exception):
    """The file is there and cannot be read. The message is for the operator."""


class PausedFile:
    """A task type or a plugin a line, ``*`` for everything; what follows a ``#`` is a remark.

    A file that is missing pauses nothing. One that cannot be read changes nothing: what was paused stays so.
    """

    def __init__(
        self, path: Path, pauses: Pauses, known: Callable[[], Collection[str]], *, look_every: float = LOOK_EVERY_S
    ) -> None:
        """:param known: the task types and plugins that there are; it may change.
        :param look_every: seconds between two looks at the file.
        """
        self._path = path
        self._pauses = pauses
        self._known = known
        self._look_every = look_every
        self._read_last: tuple[bytes, frozenset[str]] = b"", frozenset()
        self._fault = ""
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the file, and look at it from now on."""
        await self._look()
        self._watch = asyncio.create_task(self._follow())

    async def aclose(self) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._look_every)
            await self._look()

    async def _look(self) -> None:
        try:
            found = await asyncio.to_thread(_read, self._path)
        except _Unusable as fault:
            if str(fault) != self._fault:
                self._fault = str(fault)
                log.error("%s; what is paused stays so", fault, extra={"fields": {"event": "paused_unreadable"}})
            return
        self._fault = ""
        known = frozenset(self._known())
        if (found, known) != self._read_last:
            self._read_last = found, known
            self._apply(found, known)

    def _apply(self, found: bytes, known: frozenset[str]) -> None:
        names = set()
        for number, name in _lines(found):
            if name == EVERYTHING or name in known:
                names.add(name)
            else:
                log.warning(
                    "%s, line %d: %r is neither a task type nor a plugin here, and pauses nothing%s",
                    *(self._path, number, name[:80], nearest(name[:80], known)),
                )
        if names == set(self._pauses.names):
            return
        self._pauses.set(names)
        fields = {"event": "paused", "names": sorted(names)}
        if names:
            log.warning("paused, by %s: %s", self._path, listed(names), extra={"fields": fields})
        else:
            log.warning("nothing is paused any more", extra={"fields": fields})


def listed(names: Collection[str]) -> str:
    """What is paused, for people: at most 20 names."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "everything" if EVERYTHING in names else ", ".join(sorted(names)[:_NAMED]) + more


def faults(settings: Settings) -> Collection[str]:
    """What keeps a server from starting, a line each."""
    try:
        if settings.paused_file is not None:
            _read(settings.paused_file)
    except _Unusable as fault:
        return [str(fault)]
    return []


def _read(path: Path) -> bytes:
    """:raises _Unusable: it cannot be read."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _Unusable(f"--paused-file: {path} is no file")
            found = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise _Unusable(f"--paused-file: {path} cannot be read: {reason}") from None
    if len(found) > _MOST_BYTES:
        raise _Unusable(f"--paused-file: {path} is larger than {_MOST_BYTES} bytes")
    return found


def _at_once(path: str, flags: int) -> int:
    """A pipe in the file's place would hold the thread for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _lines(found: bytes) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(found.decode("utf-8-sig", "replace").splitlines(), start=1):
        if name := line.partition("#")[0].strip():
            yield number, name
