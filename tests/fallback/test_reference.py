"""flytekit's own service behind ours, with its own BigQuery and webhook connectors: ours says what it says, counts it,
and ends when it has been said.
"""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import msgpack
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from flyteidl.admin import agent_pb2
from flyteidl.core import literals_pb2, tasks_pb2
from flyteidl.service import agent_pb2_grpc
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2

from connectors import Phase
from connectors.http import HttpClient
from connectors.testing.server import ConnectorServer
from demo.emulators import EmulatorUnavailable
from plugins.http.tests.fake_service import FakeService, Reply
from tests.emulators.fixtures import local_bigquery_url
from tests.fallback.held_request import held_request
from tests.fallback.reference import reference_service
from tests.observability.scraping import Page, scrape
from tests.reference_sdk.callers import Flyte1
from tests.server import calls
from tests.server.processes import ServerProcess
from tests.wire.connectors_for_tests import AcmeConnector

__all__ = ["local_bigquery_url"]

pytestmark = pytest.mark.timeout(900)  # the first test may make the environment
BIGQUERY = "bigquery_query_job_task"
NO_META = agent_pb2.GetTaskRequest(task_category=agent_pb2.TaskCategory(name=BIGQUERY), resource_meta=b"no meta")
NO_LOGS = (grpc.StatusCode.UNKNOWN, "Unexpected <class 'NotImplementedError'>: ")


@pytest.fixture(scope="module")
def one_event_loop() -> None:
    """The other modules' fixture: nothing here runs on grpc.aio."""


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def theirs(local_bigquery_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        with reference_service(tmp_path_factory.mktemp("reference"), local_bigquery_url) as address:
            yield address
    except EmulatorUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def ours(portal: BlockingPortal, theirs: str) -> Iterator[ConnectorServer]:
    with portal.wrap_async_context_manager(ConnectorServer(AcmeConnector(), fallback=theirs)) as server:
        yield server


@pytest.fixture
def uncounted(portal: BlockingPortal, theirs: str) -> Iterator[ConnectorServer]:
    """Ours, to which no test has spoken."""
    with portal.wrap_async_context_manager(ConnectorServer(AcmeConnector(), fallback=theirs)) as server:
        yield server


@pytest.fixture
def process(theirs: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """Ours as a process of its own, with no connector but theirs."""
    arguments = ("--store=memory://", f"--fallback={theirs}")
    server = ServerProcess(*arguments, plugins=tmp_path, cwd=tmp_path)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def through(ours: ConnectorServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(ours.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def direct(theirs: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(theirs) as channel:
        yield channel


@pytest.fixture
def service(portal: BlockingPortal) -> Iterator[FakeService]:
    with portal.wrap_async_context_manager(FakeService().serving()) as service:
        yield service


def query(statement: str) -> bytes:
    custom = Struct()
    custom.update({"ProjectID": "example-project", "Location": "EU", "Domain": "development"})
    template = tasks_pb2.TaskTemplate(
        type=BIGQUERY,
        custom=custom,
        sql=tasks_pb2.Sql(statement=statement, dialect=tasks_pb2.Sql.ANSI),
        metadata=tasks_pb2.TaskMetadata(runtime=tasks_pb2.RuntimeMetadata(version="1.16.31")),
    )
    return bytes(template.SerializeToString())


def webhook(url: str, method: str = "POST") -> bytes:
    custom = Struct()
    custom.update({"url": url, "method": method, "headers": {"x-a": "1"}, "data": {"v": "{inputs.v}"}})
    custom.update({"timeout_sec": 60})
    return bytes(tasks_pb2.TaskTemplate(type="webhook", custom=custom).SerializeToString())


def asked_of_webhook(channel: grpc.Channel, url: str) -> Any:
    """The call, under way: the messages of its answer, once there are any."""
    template = tasks_pb2.TaskTemplate.FromString(webhook(url, "GET"))
    seven = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=7)))
    messages = [
        agent_pb2.ExecuteTaskSyncRequest(header=agent_pb2.CreateRequestHeader(template=template)),
        agent_pb2.ExecuteTaskSyncRequest(inputs=literals_pb2.LiteralMap(literals={"v": seven})),
    ]
    return agent_pb2_grpc.SyncAgentServiceStub(channel).ExecuteTaskSync(iter(messages), timeout=60)


def told_by_webhook(call: Any) -> str:
    """What the web service said, out of the whole answer."""
    [answer] = call
    resource = answer.header.resource
    assert Phase(resource.phase) is Phase.SUCCEEDED, resource.message
    return str(msgpack.unpackb(resource.outputs.literals["info"].scalar.binary.value)["response_data"])


async def page_of(server: ConnectorServer) -> Page:
    async with HttpClient() as http:
        return await scrape(http, server.metrics)


def status(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), raised.value.details()


def test_its_bigquery_connector_runs_a_query(through: grpc.Channel) -> None:
    ended = Flyte1(through).run(query("SELECT 5 AS n"), {})
    assert ended.phase is Phase.SUCCEEDED, ended.message
    assert ended.links == ("BigQuery Console",)
    assert set(json.loads(ended.meta)) == {"job_id", "project", "location"}
    assert ended.outputs["results"].scalar.structured_dataset.uri.startswith("bq://example-project:")


def test_a_poll_says_the_same_through_ours(through: grpc.Channel, direct: grpc.Channel) -> None:
    ended = Flyte1(through).run(query("SELECT 1 AS n"), {})
    request = agent_pb2.GetTaskRequest(
        task_category=agent_pb2.TaskCategory(name=BIGQUERY), resource_meta=ended.meta, output_prefix="s3://b/1"
    )
    answers = [agent_pb2_grpc.AsyncAgentServiceStub(each).GetTask(request, timeout=30) for each in (through, direct)]
    assert answers[0] == answers[1]


def test_a_failure_says_the_same_through_ours_traceback_and_all(through: grpc.Channel, direct: grpc.Channel) -> None:
    stubs = [agent_pb2_grpc.AsyncAgentServiceStub(each) for each in (through, direct)]
    told = [status(partial(each.GetTask, NO_META, timeout=30)) for each in stubs]
    assert told[0] == told[1]
    assert told[0][0] is grpc.StatusCode.INTERNAL
    assert "Traceback" in str(told[0][1])


def test_a_delete(through: grpc.Channel) -> None:
    Flyte1(through).delete(query("SELECT 1 AS n"), {})


def test_its_webhook_connector_answers_at_once(through: grpc.Channel, service: FakeService) -> None:
    service.will_say(Reply(200, b"done"))
    ended = Flyte1(through).run(webhook(f"{service.url}/hook"), {"v": 7})
    assert ended.phase is Phase.SUCCEEDED, ended.message
    assert (service.last.headers["x-a"], json.loads(service.last.body)) == ("1", {"v": 7})


# flytekit 1.16.31 returns its message of logs where gRPC has a stream's written, so that a success is a stream of none;
# what carries messages is in test_bytes.
@pytest.mark.parametrize(
    ("task_type", "meta", "said"),
    [
        ("chatty", {"number": 7}, []),
        (BIGQUERY, {"job_id": "j", "project": "example-project", "location": "EU"}, NO_LOGS),
    ],
    ids=["a success", "a connector without logs"],
)
def test_logs_say_the_same_through_ours(
    through: grpc.Channel, direct: grpc.Channel, task_type: str, meta: dict[str, Any], said: object
) -> None:
    category = agent_pb2.TaskCategory(name=task_type)
    request = agent_pb2.GetTaskLogsRequest(task_category=category, resource_meta=json.dumps(meta).encode())

    def logs(channel: grpc.Channel) -> object:
        try:
            return list(agent_pb2_grpc.AsyncAgentServiceStub(channel).GetTaskLogs(request, timeout=30))
        except grpc.RpcError as error:
            return error.code(), error.details()

    assert logs(direct) == said
    assert logs(through) == said


def test_its_connectors_are_listed_with_ours(through: grpc.Channel, direct: grpc.Channel) -> None:
    def listed(channel: grpc.Channel) -> list[Any]:
        stub = agent_pb2_grpc.AgentMetadataServiceStub(channel)
        return list(stub.ListAgents(agent_pb2.ListAgentsRequest(), timeout=30).agents)

    *first, last = listed(through)
    assert (first, last.name) == (listed(direct), "Acme Connector")
    assert {"chatty", BIGQUERY, "webhook", "sensor"} <= {
        category.name for each in first for category in each.supported_task_categories
    }


def test_a_connector_is_described_as_it_describes_it(through: grpc.Channel, direct: grpc.Channel) -> None:
    request = agent_pb2.GetAgentRequest(name="Bigquery Connector")
    stubs = [agent_pb2_grpc.AgentMetadataServiceStub(each) for each in (through, direct)]
    answers = [each.GetAgent(request, timeout=30) for each in stubs]
    assert answers[0] == answers[1]


def test_calls_that_it_answers_are_counted_here(
    portal: BlockingPortal, uncounted: ConnectorServer, service: FakeService
) -> None:
    service.will_say(Reply(200, b"done"))
    with calls.channel(uncounted.address) as channel:
        stub, category = calls.stub(channel), agent_pb2.TaskCategory(name=BIGQUERY)
        meta = Flyte1(channel).create(query("SELECT 1 AS n"), {})
        for _ in range(2):
            stub.GetTask(agent_pb2.GetTaskRequest(task_category=category, resource_meta=meta), timeout=30)
        status(partial(stub.GetTask, NO_META, timeout=30))
        stub.DeleteTask(agent_pb2.DeleteTaskRequest(task_category=category, resource_meta=meta), timeout=30)
        Flyte1(channel).run(webhook(f"{service.url}/hook"), {"v": 7})
    page = portal.call(page_of, uncounted)
    counted = [
        page.value(f"flyte_connector_{name}", task_type=task_type, operation=operation)
        for task_type, operation in [(BIGQUERY, "create"), (BIGQUERY, "get"), (BIGQUERY, "delete"), ("webhook", "do")]
        for name in ("requests_success_total", "request_latency_seconds_count")
    ]
    assert counted == [1, 1, 2, 3, 1, 1, 1, 1]
    failed = {"task_type": BIGQUERY, "operation": "get", "error_code": "INTERNAL"}
    assert page.value("flyte_connector_requests_failure_total", failed) == 1


def test_a_call_that_it_has_not_answered_is_in_flight_here(portal: BlockingPortal, uncounted: ConnectorServer) -> None:
    labels = {"task_type": "webhook", "operation": "do"}
    with calls.channel(uncounted.address) as channel, held_request() as request:
        call = asked_of_webhook(channel, request.url)
        request.wait()
        asked = time.monotonic()
        assert portal.call(page_of, uncounted).value("flyte_connector_in_flight", labels) == 1
        held = time.monotonic() - asked
        request.answer(b"done")
        assert told_by_webhook(call) == "done"
    page = portal.call(page_of, uncounted)
    assert page.value("flyte_connector_in_flight", labels) == 0
    assert (page.value("flyte_connector_request_latency_seconds_sum", labels) or 0) >= held


def test_a_call_to_it_is_answered_whole_before_ours_ends(process: ServerProcess) -> None:
    long = "an answer of a megabyte " * 45_000
    host, _, port = process.address.rpartition(":")
    with calls.channel(process.address) as channel, held_request() as request:
        watch = calls.health(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        call = asked_of_webhook(channel, request.url)
        request.wait()
        process.send(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), timeout=30):
            pass
        request.answer(long.encode())
        assert told_by_webhook(call) == long
    assert process.wait() == 0
    assert process.logged(event="stopped")
