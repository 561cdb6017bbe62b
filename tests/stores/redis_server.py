"""A real redis-server in a folder of its own, which can be killed and started again on the same port."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["RedisServer", "available", "free_port", "redis_server"]

START_WITHIN = 20.0
"""Seconds; a start takes some 20 ms on a quiet machine."""
_READY = (b"+PONG", b"-NOAUTH", b"-MASTERDOWN")


def available() -> str | None:
    """Why no server can be started here; None where one can."""
    return None if shutil.which("redis-server") else "redis-server is not installed (Debian: redis-server)"


def free_port() -> int:
    """One that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """Its data, its log and its pid file lie in ``folder``. Nothing is kept on disk but by ``options``."""

    def __init__(self, folder: Path, *options: str) -> None:
        """:param options: as on redis-server's command line: ``"--appendonly", "yes"``."""
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, on the port that it had before; returns when it answers, its data loaded.

        :raises RuntimeError: it runs already, ends at once, or does not answer; the message holds the end of its log.
        """
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError("redis-server runs already")
        for _ in range(1 if self.port else 5):  # another program may take a free port before the server does
            port = self.port or free_port()
            if self._started(port):
                self.port = port
                return
        log = self._folder / "redis.log"
        raise RuntimeError(f"redis-server did not start: {log.read_text()[-2000:] if log.exists() else 'no log'}")

    def _started(self, port: int) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = {"bind": "127.0.0.1", "port": str(port), "save": "", "appendonly": "no", "dir": str(self._folder)}
        command = ["redis-server", *(word for name, value in settings.items() for word in (f"--{name}", value))]
        with (self._folder / "redis.log").open("ab") as log:
            process = subprocess.Popen([*command, *self._options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._process = process
        until = time.monotonic() + START_WITHIN
        while time.monotonic() < until and process.poll() is None:
            if _answers(port):
                return process.poll() is None
            time.sleep(0.01)
        self.kill()
        return False

    def kill(self) -> None:
        """As ``kill -9``; returns when it is dead."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an administrator would; returns when it has ended."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """It stays connected and answers nothing until :meth:`resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(how)
        self._process.wait(START_WITHIN)
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(_READY)
    except OSError:
        return False


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """One that is up, and is killed at the end."""
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()
