"""The output prefix: a folder on this machine, or a place in a store that fsspec knows."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import url2pathname

from anyio import to_thread

from connectors.errors import FailedPrecondition, NotFound

__all__ = ["OutputPrefix"]

T = TypeVar("T")


class OutputPrefix:
    """Reads and writes whole files under a prefix. What blocks runs in a thread."""

    def __init__(self, prefix: str) -> None:
        """:param prefix: a path, relative or absolute, or a URL such as ``s3://bucket/path``."""
        scheme, found, rest = prefix.partition("://")
        self._folder: Path | None = None
        if not found or scheme == "file":
            self._folder = Path(url2pathname(rest) if found else prefix).expanduser().absolute()
            self.url = str(self._folder)
        else:
            self.url = prefix.rstrip("/")

    def path(self, name: str) -> str:
        """Where a file of that name is."""
        return f"{self.url}/{name}"

    async def write(self, name: str, data: bytes) -> None:
        """Write a file, in place of one that is there.

        :raises FailedPrecondition: it cannot be written; the message says why.
        """
        await self._do("written", name, lambda: self._write(name, data))

    async def read(self, name: str) -> bytes:
        """Read a file.

        :raises NotFound: there is none. :raises FailedPrecondition: it cannot be read; the message says why.
        """
        return await self._do("read", name, lambda: self._read(name))

    async def _do(self, what: str, name: str, act: Callable[[], T]) -> T:
        try:
            return await to_thread.run_sync(act, abandon_on_cancel=True)
        except FileNotFoundError as error:
            raise NotFound(f"{self.path(name)} does not exist") from error
        except Exception as error:  # each store has its own errors
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise FailedPrecondition(f"{self.path(name)} cannot be {what}: {reason}") from error

    def _write(self, name: str, data: bytes) -> None:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(data)
            return
        store, path = self._store(name)
        store.pipe_file(path, data)

    def _read(self, name: str) -> bytes:
        if self._folder is not None:
            return (self._folder / name).read_bytes()
        store, path = self._store(name)
        store.invalidate_cache()  # the job wrote it: a listing from before that would hide it
        data: bytes = store.cat_file(path)
        return data

    def _store(self, name: str) -> tuple[Any, str]:
        try:
            fsspec = importlib.import_module("fsspec")
        except ImportError as error:
            raise ImportError("fsspec is missing: pip install 'connectors-service[local]'") from error
        store, path = fsspec.core.url_to_fs(self.path(name))
        return store, path
