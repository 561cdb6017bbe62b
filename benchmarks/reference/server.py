"""The reference as one server process to measure: ``pyflyte serve connector`` of flytekit, with its BigQuery plugin.

It runs in an environment of its own, from the package index, with the versions that a plain installation of the two
resolves to. It listens on every address of the machine: the command has no flag for another.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.emulators import Recipe, environment_of

__all__ = ["REFERENCE", "ReferenceServer", "free_port", "install", "running", "start"]

_HERE = Path(__file__).parent
NOTHING = _HERE / "nothing_connector.py"
_READY_WITHIN = 90.0  # seconds; it imports for some of them, on a machine that may be busy
_END_WITHIN = 10.0  # seconds


def _command(port: int, data: Path) -> list[str]:
    return ["pyflyte", "serve", "connector", "--port", str(port)]


_RECIPE = Recipe(
    name="flytekit-bigquery",
    requirements=tuple(
        each
        for name in ("requirements.txt", "requirements-bigquery.txt")
        for each in (_HERE / name).read_text("utf-8").split()
    ),
    command=_command,
)
REFERENCE = next(each for each in _RECIPE.requirements if each.startswith("flytekit==")).replace("==", " ")
"""Its name and version, for people."""


def install() -> Path:
    """The environment that it runs in; made the first time, which takes minutes. It blocks.

    :raises demo.emulators.EmulatorUnavailable: it cannot be installed here.
    """
    return environment_of(_RECIPE)


@dataclass(frozen=True)
class ReferenceServer:
    """A server that runs."""

    address: str
    """``host:port`` of gRPC."""
    pid: int


@contextmanager
def running(
    *, modules: tuple[Path, ...] = (NOTHING,), variables: Mapping[str, str] | None = None, core: int | None = None
) -> Iterator[ReferenceServer]:
    """A server that takes connections, with the BigQuery plugin and the connectors in ``modules``.

    :param modules: files, each of which registers a connector. :param variables: for its environment.
    :param core: the one that it is kept on; None leaves it free.
    :raises demo.emulators.EmulatorUnavailable: it cannot be installed here. :raises RuntimeError: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="reference-") as folder:
        for module in modules:
            shutil.copy(module, folder)
        port = free_port()
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = start(port, Path(folder), [each.stem for each in modules], variables or {}, output.fileno())
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            _wait_for(port, process, log)
            yield ReferenceServer(f"127.0.0.1:{port}", process.pid)
        finally:
            stop(process)


def start(
    port: int, folder: Path, modules: list[str], variables: Mapping[str, str], output: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start it and do not wait. :param folder: where it runs, and finds ``modules``. :param output: a descriptor."""
    environment = install()
    program, *arguments = _command(port, folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FLYTE", "COVERAGE"))}
    return subprocess.Popen(
        [
            environment / "bin" / program,
            *arguments,
            *("--prometheus_port", str(free_port())),
            *(word for module in modules for word in ("--modules", module)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=folder,
        env={**kept, "HOME": str(environment / "home"), **variables},
        start_new_session=True,  # Ctrl-C is for the comparison, which ends it in order
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it. It does not drain on SIGTERM, and need not."""
    process.terminate()
    try:
        process.wait(_END_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _READY_WITHIN
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    said = log.read_text("utf-8", "replace").strip().splitlines() or ["it printed nothing"]
    raise RuntimeError(f"the reference service did not start: {said[-1][:300]}")


def free_port() -> int:
    """One that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
