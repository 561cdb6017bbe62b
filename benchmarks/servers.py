"""The servers that are measured, each a process of its own, kept on a core where one is given."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import ROOT, environment
from benchmarks.nothing import CREATE, CREATED, GET, GOT, install
from benchmarks.processes import cpu_seconds, resident_bytes

__all__ = ["Serving", "connectors", "cores", "floor"]

_READY_WITHIN = 60.0  # seconds, on a machine that may be busy


@dataclass(frozen=True)
class Serving:
    """A server that takes calls."""

    address: str
    pid: int

    @property
    def cpu(self) -> float:
        """Seconds of the processor that it used so far."""
        return cpu_seconds([self.pid])

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        return resident_bytes([self.pid])


def cores() -> tuple[int, int]:
    """The server's, and the generator's; the same one where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def floor(
    kind: str = "grpclib",
    *,
    core: int | None = None,
    answers: Mapping[str, bytes] | None = None,
    pauses: Mapping[str, float] | None = None,
) -> Iterator[Serving]:
    """``python -m benchmarks.floor``.

    :param kind: ``grpclib`` or ``canned``. :param answers: by path; by default the do-nothing connector's.
    :param pauses: seconds before an answer, by a word that is in the request.
    """
    given = answers or ({GET: GOT, CREATE: CREATED} if kind == "grpclib" else {GET: GOT})
    command = [sys.executable, "-m", "benchmarks.floor", kind]
    command += [f"--answer={path}={answer.hex()}" for path, answer in given.items()]
    command += [f"--pause={word}={seconds:g}" for word, seconds in (pauses or {}).items()]
    command += [] if core is None else [f"--core={core}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"the {kind} server ended with {process.wait()}")
        yield Serving(address, process.pid)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def connectors(
    *arguments: str,
    core: int | None = None,
    store: str = "memory://",
    plugins: Sequence[str] = ("nothing", "slow", "blocking"),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Serving]:
    """``connectors serve`` as anybody starts it, with the plugins that do nothing beside the installed ones.

    :param arguments: further flags. :param plugins: the ones to load.
    """
    with tempfile.TemporaryDirectory(prefix="connectors-bench-") as temporary:
        folder = Path(temporary)
        install(folder)
        command = [
            *(str(Path(sys.executable).with_name("connectors")), "serve", "--port=0", "--metrics-port=0"),
            *(f"--store={store}", f"--allow-plugins={','.join(plugins)}", *arguments),
        ]
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command if core is None else [sys.executable, "-c", _PINNED, str(core), *command],
                cwd=folder,
                env=environment() | {"PYTHONPATH": path, "XDG_STATE_HOME": str(folder)} | dict(variables or {}),
                stdin=subprocess.DEVNULL,
                stderr=output,
            )
        try:
            yield Serving(_address(process, log), process.pid)
        finally:
            process.kill()  # nothing is kept that it could lose
            process.wait()


_PINNED = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execv(sys.argv[2], sys.argv[2:])"


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _READY_WITHIN
    while process.poll() is None and time.monotonic() < end:
        for line in log.read_text("utf-8").splitlines():
            if "event=ready" in line:
                return next(word for word in line.split() if word.startswith("address=")).partition("=")[2]
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start: {log.read_text('utf-8')[-500:]}")
