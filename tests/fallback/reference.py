"""flytekit's own connector service, with its BigQuery plugin, as a process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.emulators import environment_of
from tests.reference_sdk.environment import FLYTEKIT

__all__ = ["reference_service"]

_MODULE = Path(__file__).with_name("their_connector.py")
_PROGRAM = Path(__file__).with_name("inside_serving.py")
_READY_S = 120.0  # it imports for some of them, on a machine that may be busy


@contextmanager
def reference_service(folder: Path, bigquery: str) -> Iterator[str]:
    """Its address. It blocks; the first time, while the environment is made, for minutes.

    :param bigquery: the emulator's URL.
    :raises demo.emulators.EmulatorUnavailable: the environment cannot be made here.
    """
    environment = environment_of(FLYTEKIT)
    shutil.copy(_MODULE, folder)
    port, metrics = _free_ports(2)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FLYTE", "GOOGLE"))}
    command = ["serve", "connector", "--port", str(port), "--prometheus_port", str(metrics), "--modules", _MODULE.stem]
    log = folder / "reference.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [environment / "bin" / "python", _PROGRAM, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**kept, "HOME": str(folder), "BIGQUERY_EMULATOR_HOST": bigquery, "NO_PROXY": "127.0.0.1"},
        )
    try:
        _wait_for(process, port, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up = time.monotonic() + _READY_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the reference service did not start: {log.read_text('utf-8', 'replace')[-2000:]}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
