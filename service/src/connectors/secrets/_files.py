"""Secrets in files, as Kubernetes and Docker mount them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from connectors.errors import FailedPrecondition, Unavailable
from connectors.secrets._fresh import FreshValues
from connectors.secrets._sources import Asked, Secret

__all__ = ["FileSecrets"]

_LARGEST = 1024 * 1024  # bytes; Kubernetes has none that is larger
_FRESH_FOR = 1.0  # seconds
_PATIENCE = 5.0  # seconds
_THREADS = 4


class FileSecrets:
    """Files named after their secret, in the first of some folders that has one: ``<name>``, or ``<name>/<key>``.

    A file is read again a second after it was read: a rotated secret is seen by the next call. It is read in threads of
    this source's own: a network file system that hangs holds up neither the event loop nor what else runs in threads.
    """

    kind = "files"

    def __init__(
        self,
        *folders: Path,
        fresh_for: float = _FRESH_FOR,
        patience: float = _PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param folders: by default ``/etc/secrets``. :param fresh_for: seconds that what was read may be given again.
        :param patience: seconds for one read. :param clock: in seconds.
        """
        self._folders = folders or (Path("/etc/secrets"),)
        self._patience = patience
        self._read: FreshValues[tuple[str, str], str | None] = FreshValues(lambda _: fresh_for, clock=clock)
        self._threads: ThreadPoolExecutor | None = None

    async def find(self, asked: Asked) -> Secret | None:
        """:raises FailedPrecondition: the file is there and cannot be read, is no UTF-8 text, or too long.
        :raises Unavailable: it is not read in time.
        """
        value = await self._read.get((asked.name, asked.key), lambda: self._in_a_thread(asked))
        return None if value is None else Secret(value)

    def where(self, asked: Asked) -> str:
        entry = f"{asked.name}/{asked.key}" if asked.key else asked.name
        return f"files ({', '.join(str(folder / entry) for folder in self._folders)})"

    async def aclose(self) -> None:
        """Let the threads end; one that a read holds is not waited for."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _in_a_thread(self, asked: Asked) -> str | None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "connectors-secret-files")
        paths = [folder / entry for folder in self._folders for entry in _entries(asked)]
        reading = asyncio.get_running_loop().run_in_executor(self._threads, _first, paths)
        try:
            async with asyncio.timeout(self._patience):
                return await reading
        except TimeoutError as error:
            raise Unavailable(
                f"the file of secret {asked.name!r} could not be read within {self._patience:g} s"
            ) from error
        except (OSError, ValueError) as error:
            raise FailedPrecondition(f"the file of secret {asked.name!r} cannot be read") from error


def _entries(asked: Asked) -> Sequence[Path]:
    names = dict.fromkeys((asked.name, asked.name.lower()))
    with_key = [Path(name, asked.key) for name in names] if asked.key else []
    return [*with_key, *map(Path, names)]


def _first(paths: Sequence[Path]) -> str | None:
    for path in paths:
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        if len(data) > _LARGEST:
            raise ValueError(f"longer than {_LARGEST} bytes")
        return data.decode("utf-8").strip()
    return None
