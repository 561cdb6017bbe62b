"""The server that is attacked: a real process, and what can be seen of it from outside."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from flyteidl.admin import agent_pb2
from flyteidl.core import literals_pb2, tasks_pb2
from flyteidl.service import agent_pb2_grpc
from google.protobuf import struct_pb2
from h2.stream import H2Stream

from connectors._engine import recorder
from connectors._server.tls import TlsFiles
from connectors._wire.transport.buffers import ConnectionBuffers
from connectors._wire.transport.call import Call
from connectors._wire.transport.dispatch import Dispatcher
from connectors._wire.transport.framing import MessageReader
from connectors._wire.transport.gate import Gate
from connectors._wire.transport.http2 import Http2
from connectors._wire.transport.inbox import Inbox
from connectors._wire.transport.intake import Intake
from connectors._wire.transport.lane import Lane, Line
from connectors._wire.transport.outbound import Outbound, Unread
from connectors._wire.transport.session import Session
from tests.hostile.watcher import channel
from tests.registry.distributions import write_distribution
from tests.server.processes import ServerProcess

__all__ = ["Seconds", "Traces", "Victim"]

# What runs and what is kept in the server's own process, told by a connector: nothing else can look there.
CENSUS = """
import asyncio
import gc
from collections import Counter

from connectors import Phase, Resource, SyncConnectorBase

class Connector(SyncConnectorBase):
    task_type = "census"

    async def do(self, task, ctx):
        gc.collect()
        kinds = Counter(map(type, gc.get_objects()))
        kept = {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in kinds.items()}
        kept = {name: kept.get(name, 0) for name in task.custom["names"]}
        return Resource(Phase.SUCCEEDED, outputs={"tasks": len(asyncio.all_tasks()), **kept})
"""
# What a connection and a call are made of, down to what has their bytes. Each is a cycle with others at times, and may
# be left where those are not.
KEPT = [
    f"{kind.__module__}.{kind.__qualname__}"
    for kind in (
        *(Session, Http2, Line, Dispatcher, Intake, Gate, ConnectionBuffers, H2Stream),
        *(Call, Lane, Inbox, Outbound, Unread, MessageReader, recorder.Call),
    )
]
PATIENCE_S = 90.0
"""For an answer, on a machine that has more to do."""
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Traces:
    """What clients leave in a server for as long as it is busy with them."""

    descriptors: int
    tasks: int
    kept: dict[str, int]
    """How many connections and calls are in memory, by the names of their parts' classes."""

    def beyond(self, other: Traces) -> dict[str, int]:
        """What there is more of than there was then, and how many now."""
        now, then = self._counts(), other._counts()
        return {name: count for name, count in now.items() if count > then[name]}

    def _counts(self) -> dict[str, int]:
        return {"descriptors": self.descriptors, "tasks": self.tasks, **self.kept}


class Seconds(NamedTuple):
    """What an answer took; see `watcher.py`."""

    own: float
    """Without what other processes took."""
    by_the_clock: float


class Victim:
    """The server, and the caller beside the attacks."""

    def __init__(self, folder: Path, certificate: TlsFiles | None = None) -> None:
        """:param certificate: have the port speak TLS with it."""
        plugins = folder / "plugins"
        plugins.mkdir()
        write_distribution(plugins, "census", CENSUS)
        options = ["--store=memory://"]
        self._authority = ""
        if certificate is not None:
            options += [f"--tls-certificate={certificate.certificate}", f"--tls-key={certificate.key}"]
            self._authority = str(certificate.certificate)
        self.process = ServerProcess(*options, plugins=plugins, cwd=folder)
        self.address = self.process.address
        self._seconds: list[Seconds] = []
        self._changed = threading.Condition()
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.watcher", self.address, str(self.process.pid), self._authority],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.slowest(0)  # from here on the caller has its connection

    @property
    def place(self) -> tuple[str, int]:
        host, port = self.address.split(":")
        return host, int(port)

    def answers(self) -> int:
        """How many health checks the caller had an answer to."""
        return len(self._seconds)

    def slowest(self, since: int) -> Seconds:
        """The most seconds of any answer from the one of that number on, once two more have come: the first of these
        was under way until now.
        """
        with self._changed:
            enough = len(self._seconds) + 2
            assert self._changed.wait_for(lambda: len(self._seconds) >= enough, PATIENCE_S), "the caller has no answer"
            own, by_the_clock = zip(*self._seconds[since:], strict=True)
            return Seconds(max(own), max(by_the_clock))

    def descriptors(self) -> int:
        """Files and sockets that the server has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def forget_the_most(self) -> None:
        """Have ``memory(most=True)`` begin with what is there now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", "ascii")

    def memory(self, *, most: bool = False) -> int:
        """MiB that the server has in memory, or the most that it had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(rf"^{'VmHWM' if most else 'VmRSS'}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) // 1024

    async def traces(self) -> Traces:
        """What there is now; the connection and the call that ask are among it."""
        return await asyncio.to_thread(self._traces)

    def _traces(self) -> Traces:
        custom = struct_pb2.Struct()
        custom.update({"names": KEPT})
        header = agent_pb2.CreateRequestHeader(template=tasks_pb2.TaskTemplate(type="census", custom=custom))
        parts = [
            agent_pb2.ExecuteTaskSyncRequest(header=header),
            agent_pb2.ExecuteTaskSyncRequest(inputs=literals_pb2.LiteralMap()),
        ]
        stub: Any
        with channel(self.address, self._authority) as opened:
            stub = agent_pb2_grpc.SyncAgentServiceStub(opened)
            (answer,) = stub.ExecuteTaskSync(iter(parts), timeout=PATIENCE_S)
            descriptors = self.descriptors()
        found = answer.header.resource.outputs.literals
        tasks, *kept = (found[name].scalar.primitive.integer for name in ("tasks", *KEPT))
        return Traces(descriptors, tasks, dict(zip(KEPT, kept, strict=True)))

    def rejected(self) -> set[str]:
        """Why the transport ended calls and connections so far."""
        with urllib.request.urlopen(f"{self.process.metrics}/metrics", timeout=30) as answer:  # noqa: S310 - our own
            text = answer.read().decode("utf-8")
        return set(re.findall(r'^flyte_connector_rejected_total\{.*reason="(\w+)"\} [1-9]', text, re.MULTILINE))

    def close(self) -> None:
        assert self._watcher.stdin is not None
        assert self._watcher.stdout is not None
        self._watcher.stdin.close()
        try:
            assert self._watcher.wait(30) == 0, "the caller ended with an error"
        finally:
            self._watcher.kill()
            self._watcher.wait()
            self._reader.join()
            self._watcher.stdout.close()
            self.process.close()

    def _read(self) -> None:
        assert self._watcher.stdout is not None
        for line in self._watcher.stdout:
            with self._changed:
                self._seconds.append(Seconds(*map(float, line.split())))
                self._changed.notify_all()
