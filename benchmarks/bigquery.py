"""BigQuery's lines: this service and the reference before a platform that answers in 100 ms; each call has its own job.

    python -m benchmarks --only bigquery

Both use a service account's key file, as the application default credentials, whose token endpoint is the platform: so
both sign, ask for a token and send it as they do in life. Both are kept on one core; the generator and the platforms
have the other. Ours is measured for some seconds once it is warm, the reference for a number of calls: at its pace 256
outstanding calls alone take longer than that.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flyteidl.admin import agent_pb2
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2

from benchmarks import platform
from benchmarks.line import Figures, Line, known
from benchmarks.load import NUMBER, Body, Generator, LoadError, Plan, Result
from benchmarks.nothing import CREATE, GET
from benchmarks.reference import server as reference
from benchmarks.servers import Serving, connectors, cores
from demo.emulators import EmulatorError

__all__ = ["DELAY", "Sizes", "create_task", "get_task", "lines", "ours"]

DELAY = 0.1
"""Seconds that the platform takes for every answer."""
_OUTSTANDING = 256
_TASK_TYPE = "bigquery_query_job_task"
_PROJECT = "example-project"
_TIMEOUT = 99.0
"""Seconds: the backend gives a call 10, at which the reference would answer a part of these calls with an error."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int = 3
    seconds: float = 5.0
    """Of ours, in each round."""
    calls: int = 384
    """Of the reference, in each round."""
    paced: float = 10.0
    """Seconds of the backend's own load at its pace."""
    bursts: int = 2
    """Of 100 calls, 10 s apart."""

    @classmethod
    def quick(cls) -> Sizes:
        """To try whether it works."""
        return cls(rounds=1, seconds=1.0, calls=280, paced=2.0, bursts=1)


# --------------------------------------------------------------------------------------------------------------- calls


def get_task() -> Body:
    """GetTask for a query job, as both services write its meta."""
    meta = {"job_id": f"1b4e28ba-2fa1-11d2-883f-{NUMBER.decode():0>12}", "project": _PROJECT, "location": "EU"}
    return Body.of(
        agent_pb2.GetTaskRequest(
            resource_meta=json.dumps(meta).encode(),
            task_category=agent_pb2.TaskCategory(name=_TASK_TYPE, version=0),
            output_prefix=_prefix(),
        ).SerializeToString()
    )


def create_task() -> Body:
    """CreateTask for a query with one parameter, as flytekit's ``BigQueryTask`` is registered."""
    of_task = {"project": "analytics", "domain": "production"}
    task = identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, name="reports.daily", version="v1", **of_task)
    template = tasks_pb2.TaskTemplate(
        id=task,
        type=_TASK_TYPE,
        metadata=tasks_pb2.TaskMetadata(runtime=tasks_pb2.RuntimeMetadata(type=1, version="1.16.31", flavor="python")),
        interface=interface_pb2.TypedInterface(
            inputs=interface_pb2.VariableMap(
                variables={"minimum": interface_pb2.Variable(type=types_pb2.LiteralType(simple=types_pb2.INTEGER))}
            )
        ),
        sql=tasks_pb2.Sql(
            statement="SELECT customer, SUM(total) FROM shop.orders WHERE total > @minimum GROUP BY customer",
            dialect=tasks_pb2.Sql.ANSI,
        ),
    )
    template.custom.update({"ProjectID": _PROJECT, "Location": "EU", "Domain": "production"})
    minimum = literals_pb2.Primitive(integer=100)
    execution = identifier_pb2.WorkflowExecutionIdentifier(name=f"a{NUMBER.decode()}", **of_task)
    return Body.of(
        agent_pb2.CreateTaskRequest(
            inputs=literals_pb2.LiteralMap(
                literals={"minimum": literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=minimum))}
            ),
            template=template,
            output_prefix=_prefix(),
            task_execution_metadata=agent_pb2.TaskExecutionMetadata(
                task_execution_id=identifier_pb2.TaskExecutionIdentifier(
                    task_id=task,
                    node_execution_id=identifier_pb2.NodeExecutionIdentifier(node_id="n0", execution_id=execution),
                ),
                namespace="analytics-production",
                k8s_service_account="default",
            ),
        ).SerializeToString()
    )


def _prefix() -> str:
    return f"s3://flyte-data/metadata/propeller/analytics-production-a{NUMBER.decode()}/n0/data/0"


# ------------------------------------------------------------------------------------------------------------- servers


def credentials(folder: Path, url: str) -> dict[str, str]:
    """The environment of a server whose own credentials are a new service account's. :param url: the platform's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = folder / "service-account.json"
    account = {
        "type": "service_account",
        "project_id": _PROJECT,
        "client_email": f"queries@{_PROJECT}.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": key.private_bytes(*form).decode(),
        "token_uri": f"{url}/token",
    }
    file.write_text(json.dumps(account), "utf-8")
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "NO_PROXY": "127.0.0.1", "NO_GCE_CHECK": "true"}


@contextmanager
def ours(folder: Path, url: str, core: int | None = None) -> Iterator[Serving]:
    """This service with its BigQuery plugin, records in SQLite. :param url: the platform's."""
    variables = credentials(folder, url) | {"CONNECTORS_BIGQUERY__ENDPOINT": url}
    with connectors(
        core=core, store=f"sqlite://{folder}/bench.db", plugins=("bigquery",), variables=variables
    ) as serving:
        yield serving


@contextmanager
def _theirs(folder: Path, url: str, core: int | None) -> Iterator[reference.ReferenceServer]:
    variables = credentials(folder, url) | {"BIGQUERY_EMULATOR_HOST": url}  # which moves the API, not the credentials
    with reference.running(modules=(), variables=variables, core=core) as serving:
        yield serving


# --------------------------------------------------------------------------------------------------------------- lines


@dataclass
class _Side:
    """One service, its platform, and what was measured of it, a figure for each round."""

    address: str
    pid: int
    platform: platform.Platform
    gets: list[Result | None] = field(default_factory=list)
    """None of a round that failed; so are the creates."""
    creates: list[Result | None] = field(default_factory=list)
    next: int = 1

    def plan(self, path: str, **more: object) -> Plan:
        """A plan for calls that nobody made before."""
        body = get_task() if path == GET else create_task()
        plan = Plan(
            self.address, path, body, servers=(self.pid,), outstanding=_OUTSTANDING, timeout=_TIMEOUT, first=self.next
        )
        return replace(plan, **more)  # type: ignore[arg-type]  # they are its fields

    def warm_up(self, generator: Generator) -> None:
        """Imports, connections, the first token. What fails is not told: it will fail where it is measured, too."""
        plan = self.plan(GET, calls=_OUTSTANDING, patience=120.0)
        with suppress(LoadError):
            self.run(generator, plan)

    def run(self, generator: Generator, plan: Plan) -> Result:
        """:raises LoadError: a call failed."""
        self.next += plan.calls  # they may have been made, whatever becomes of the run
        result = generator.run(plan)
        self.next = result.next
        return result.require()


def lines(rounds: int) -> list[Line]:
    """Measure all of them. It blocks for minutes. :param rounds: 1 is short in everything, to try whether it works."""
    return _Comparison(Sizes.quick() if rounds == 1 else Sizes(rounds=rounds)).lines()


class _Comparison:
    """Both services, up at the same time and measured in turns."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._core, self._other = cores()
        self._ceiling = 0.0
        self._paced: list[float] = []
        self._paced_theirs: list[float] = []
        self._direct: list[platform.Answers] = []
        self._missing = ""

    def lines(self) -> list[Line]:
        self._ceiling = _platform_alone({self._other})
        with ExitStack() as stack:
            mine = self._opened(stack, "ours")
            try:
                theirs: _Side | None = self._opened(stack, "theirs")
            except (EmulatorError, RuntimeError) as reason:
                theirs, self._missing = None, str(reason)
            generator = stack.enter_context(Generator(core=self._other))
            for side in (mine, theirs):
                if side is not None:
                    side.warm_up(generator)
            for _ in range(self._sizes.rounds):
                self._round(generator, mine, theirs)
            return self._told(mine, theirs)

    def _opened(self, stack: ExitStack, whose: str) -> _Side:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connectors-bench-")))
        place = stack.enter_context(platform.running(DELAY, cores={self._other}))
        serving: Serving | reference.ReferenceServer
        if whose == "ours":
            serving = stack.enter_context(ours(folder, place.url, self._core))
        else:
            serving = stack.enter_context(_theirs(folder, place.url, self._core))
        return _Side(serving.address, serving.pid, place)

    def _round(self, generator: Generator, mine: _Side, theirs: _Side | None) -> None:
        sizes = self._sizes
        self._direct.append(mine.platform.asked_directly(connections=10, requests=100))
        window = {"seconds": sizes.seconds, "warm_up": 0.5}
        mine.gets.append(mine.run(generator, mine.plan(GET, **window)))
        if theirs is not None:
            self._of_reference(generator, theirs, GET, theirs.gets)
        mine.creates.append(mine.run(generator, mine.plan(CREATE, **window)))
        if theirs is not None:
            self._of_reference(generator, theirs, CREATE, theirs.creates)
        self._paced.append(self._polled(generator, mine))
        if theirs is not None and not self._paced_theirs:
            try:
                self._paced_theirs.append(self._polled(generator, theirs))
            except LoadError as failure:
                self._missing = f"the reference failed: {failure}"

    def _polled(self, generator: Generator, side: _Side) -> float:
        """The 99th percentile in seconds, as the backend polls: 10 workers, 10 calls a second; then bursts of 100.

        :raises LoadError: a call failed.
        """
        more = {"rate": 10.0, "outstanding": 10, "patience": 120.0, "connections": 1}
        paced = side.plan(GET, calls=round(10 * self._sizes.paced), **more)
        worst = side.run(generator, paced).p99
        bursts = side.plan(GET, burst=100, calls=100 * self._sizes.bursts, **more)
        return max(worst, side.run(generator, bursts).p99)

    def _of_reference(self, generator: Generator, theirs: _Side, path: str, results: list[Result | None]) -> None:
        try:
            results.append(theirs.run(generator, theirs.plan(path, calls=self._sizes.calls, patience=120.0)))
        except LoadError as failure:
            results.append(None)
            self._missing = f"the reference failed: {failure}"

    def _told(self, mine: _Side, theirs: _Side | None) -> list[Line]:
        counts = mine.platform.counts()
        beside = reference.REFERENCE if theirs is not None else ""
        direct = median(each.median for each in self._direct)
        gets, creates = _rates(theirs.gets if theirs else ()), _rates(theirs.creates if theirs else ())
        slowest = min(each.generator_ceiling for each in (*_done(mine.gets), *_done(mine.creates)))
        notes = [
            f"The platform, asked directly by 10 connections: {direct * 1e3:.1f} ms at the median,"
            f" {median(each.p99 for each in self._direct) * 1e3:.1f} ms at the 99th percentile. Without its delay, and"
            f" on one core with who asks: {self._ceiling:,.0f} requests/s. At what a call cost the generator, it could"
            f" have made {slowest:,.0f} a second.",
            f"Processor time, this service: {_cost(mine)}."
            + (f" {beside}: {_cost(theirs)}." if theirs is not None and known(gets) and known(creates) else ""),
        ]
        if theirs is not None and known(gets) and known(creates):
            waits = [f"{median(known(_medians(results))):.1f} s" for results in (theirs.gets, theirs.creates)]
            asked = theirs.platform.counts()
            notes.append(
                f"{beside}: a median of {' for GetTask and '.join(waits)} for CreateTask;"
                f" {asked.tokens} tokens were fetched for {asked.gets + asked.inserts} requests."
            )
        if self._missing:
            rounds = " in each round" if known((*gets, *creates)) else ""
            notes.append(f"Not beside the reference{rounds}: {self._missing}.")
        name = f"BigQuery GetTask, {_OUTSTANDING} outstanding"
        return [
            Line(
                name=name,
                unit="calls/s",
                ours=_rates(mine.gets),
                theirs=gets,
                beside=beside,
                bound=100.0,
                aim=150.0,
                not_measured="" if known(gets) else self._missing,
                notes=tuple(notes),
            ),
            Line(name=f"{name}: median", unit="s", ours=_medians(mine.gets), bound=0.25, more_is_better=False),
            Line(
                name=f"{name}: 99th percentile",
                unit="s",
                ours=tuple(each.p99 for each in _done(mine.gets)),
                bound=0.6,
                more_is_better=False,
            ),
            Line(
                name="BigQuery: tokens fetched in all",
                unit="tokens",
                ours=(float(counts.tokens),),
                bound=1.0,
                more_is_better=False,
                notes=(f"For {counts.gets:,} jobs that were looked at and {counts.jobs_made:,} that were made.",),
            ),
            Line(
                name="BigQuery GetTask as the backend polls: 99th percentile above the platform's time",
                unit="ms",
                ours=tuple((each - direct) * 1e3 for each in self._paced),
                shown=tuple((each - direct) * 1e3 for each in self._paced_theirs),
                beside=beside,
                bound=20.0,
                aim=5.0,
                more_is_better=False,
                notes=(
                    "10 workers; 10 calls a second, then 100 at once every 10 s; the worse of the two.",
                    *(["The reference's figure is of one run."] if self._paced_theirs else []),
                ),
            ),
            Line(
                name=f"BigQuery CreateTask, {_OUTSTANDING} outstanding, SQLite",
                unit="calls/s",
                ours=_rates(mine.creates),
                theirs=creates,
                beside=beside,
                bound=50.0,
                aim=100.0,
                not_measured="" if known(creates) else self._missing,
            ),
        ]


def _platform_alone(cores_of_both: set[int]) -> float:
    """Requests a second that the platform answers, with no delay, on a core that it shares with who asks."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores_of_both)
    try:
        with platform.running(0.0, cores=cores_of_both) as place:
            return place.asked_directly(connections=_OUTSTANDING, requests=10_000).per_second
    finally:
        os.sched_setaffinity(0, before)


def _cost(side: _Side) -> str:
    gets, creates = (
        median(each.cpu_per_call for each in _done(results)) * 1e6 for results in (side.gets, side.creates)
    )
    return f"{gets:,.0f} µs a GetTask, {creates:,.0f} µs a CreateTask"


def _done(results: Sequence[Result | None]) -> list[Result]:
    """Those of the rounds that did not fail."""
    return [each for each in results if each is not None]


def _rates(results: Sequence[Result | None]) -> Figures:
    return tuple(None if each is None else each.rate for each in results)


def _medians(results: Sequence[Result | None]) -> Figures:
    return tuple(None if each is None else each.median for each in results)
