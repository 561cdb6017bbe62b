"""Runs ``connectors serve`` as a user would, in a process of its own, with nothing of the user's within its reach."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.failures import DemoError

__all__ = ["HOST", "Server", "installed_connectors", "refuse_taken", "running_server"]

HOST = "127.0.0.1"
_COMMAND = Path(sys.executable).parent / "connectors"
_READY_TIMEOUT = 30.0  # seconds
_STOP_TIMEOUT = 10.0  # seconds between asking and ending; nothing is in flight by then
_LIST_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    address: str
    """``host:port`` of gRPC."""
    metrics_url: str


def refuse_taken(port: int, flag: str) -> None:
    """Find out that a port is taken before anything is set up for it; 0 asks for a free one.

    :param flag: how the user names the port.
    :raises DemoError: another program has it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DemoError(
                f"port {port} of {HOST} cannot be used ({str(error.strerror).lower()}); "
                f"name another with {flag}, or none for a free one"
            ) from error


def installed_connectors(folder: Path) -> list[Mapping[str, str]]:
    """What ``connectors list`` finds, one mapping a connector.

    :param folder: where it runs, so that no configuration file is found.
    :raises DemoError: it fails, or finds nothing.
    """
    try:
        done = subprocess.run(
            [_COMMAND, "list", "--json"],
            capture_output=True,
            text=True,
            cwd=folder,
            env=_environment(folder, {}),
            timeout=_LIST_TIMEOUT,
            check=False,
        )
        found: list[Mapping[str, str]] = json.loads(done.stdout)["connectors"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        raise DemoError(f"`connectors list` does not work: {error}") from error
    return found


@contextmanager
def running_server(folder: Path, *, port: int, metrics_port: int, variables: Mapping[str, str]) -> Iterator[Server]:
    """Start the server with its embedded default store, wait until it is ready, and stop it in the end. It blocks.

    :param folder: an empty one, for its state and its log. :param port: 0 takes a free one, as for ``metrics_port``.
    :raises DemoError: it does not start; the text is the server's own last line.
    """
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                _COMMAND,
                "serve",
                *("--host", HOST, "--port", str(port), "--metrics-port", str(metrics_port)),
                *("--log-format", "json", "--status-page"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=_environment(folder, variables),
            start_new_session=True,  # Ctrl-C is for the demo, which stops the server in order
        )
    try:
        yield _when_ready(process, log)
    finally:
        _stop(process)


def _environment(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without settings of the server's, and with a state folder of the demo's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTORS_")}
    return {**kept, "XDG_STATE_HOME": str(folder / "state"), **variables}


def _when_ready(process: subprocess.Popen[bytes], log: Path) -> Server:
    end = time.monotonic() + _READY_TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        for line in _lines(log):
            if line.get("event") == "ready":
                return Server(address=str(line["address"]), metrics_url=f"http://{line['metrics']}/metrics")
        time.sleep(0.02)
    said = log.read_text("utf-8", "replace").strip().splitlines() or ["it printed nothing"]
    how = "did not start" if process.poll() is not None else f"was not ready within {_READY_TIMEOUT:.0f} s"
    raise DemoError(f"the server {how}: {said[-1][:300]}")


def _lines(log: Path) -> Iterator[Mapping[str, object]]:
    """The log's complete JSON lines."""
    for line in log.read_text("utf-8", "replace").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            try:
                yield json.loads(line)
            except ValueError:  # something else printed it
                continue


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
