"""A server as a process of its own, and what it wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import importlib_metadata

__all__ = ["INSTALLED", "ServerProcess"]

INSTALLED = sorted(entry.name for entry in importlib_metadata.entry_points(group="connectors"))
"""The plugins of the environment, which these tests leave out: they bring their own."""

_END = {"event": "end of output"}
_PATIENCE = 60.0  # seconds; a busy machine is no fault of the server's


class ServerProcess:
    """``connectors serve`` on free ports of 127.0.0.1, logging JSON."""

    def __init__(self, *arguments: str, plugins: Path, cwd: Path, variables: dict[str, str] | None = None) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTORS_")}
        self._process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("connectors")),
                "serve",
                *("--port=0", "--metrics-port=0", "--log-format=json", f"--deny-plugins={','.join(INSTALLED)}"),
                *arguments,
            ],
            cwd=cwd,
            env=kept | {"PYTHONPATH": str(plugins), "XDG_STATE_HOME": str(cwd)} | (variables or {}),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.lines: list[dict[str, Any]] = []
        """What was logged so far; other text is a line with ``text`` alone."""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self.lines.append(json.loads(line) if line.startswith("{") else {"text": line})
                self._changed.notify_all()
        with self._changed:
            self.lines.append(_END)
            self._changed.notify_all()

    def logged(self, **fields: object) -> dict[str, Any]:
        """The first line with these fields, once it is there."""
        return self._first(lambda line: fields.items() <= line.items())

    def wrote(self, text: str) -> str:
        """The first line that is no JSON and holds ``text``, once it is there."""
        return str(self._first(lambda line: text in line.get("text", ""))["text"])

    def _first(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next((line for line in self.lines if is_it(line)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self.lines[-1:] == [_END], _PATIENCE)
            line = found()
            assert line is not None, self.lines
            return line

    @property
    def address(self) -> str:
        """Where gRPC is served; waits until it is."""
        return str(self.logged(event="ready")["address"])

    @property
    def metrics(self) -> str:
        """The metrics port's URL; waits until the server is ready."""
        return f"http://{self.logged(event='ready')['metrics']}"

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once it ended."""
        code = self._process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        return code

    def is_running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End it, however it stands."""
        if self.is_running():
            self._process.kill()
        self._process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        assert self._process.stderr is not None
        self._process.stderr.close()
