"""flytekit's own service behind ours, with its own BigQuery and webhook connectors: ours says what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from flyteidl.admin import agent_pb2
from flyteidl.core import tasks_pb2
from flyteidl.service import agent_pb2_grpc
from google.protobuf.struct_pb2 import Struct

from connectors import Phase
from connectors.testing.server import ConnectorServer
from demo.emulators import EmulatorUnavailable
from plugins.http.tests.fake_service import FakeService, Reply
from tests.emulators.fixtures import local_bigquery_url
from tests.fallback.reference import reference_service
from tests.reference_sdk.callers import Flyte1
from tests.wire.connectors_for_tests import AcmeConnector

__all__ = ["local_bigquery_url"]

pytestmark = pytest.mark.timeout(900)  # the first test may make the environment
BIGQUERY = "bigquery_query_job_task"


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


def webhook(url: str) -> bytes:
    custom = Struct()
    custom.update({"url": url, "method": "POST", "headers": {"x-a": "1"}, "data": {"v": "{inputs.v}"}})
    return bytes(tasks_pb2.TaskTemplate(type="webhook", custom=custom).SerializeToString())


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
    request = agent_pb2.GetTaskRequest(task_category=agent_pb2.TaskCategory(name=BIGQUERY), resource_meta=b"no meta")
    stubs = [agent_pb2_grpc.AsyncAgentServiceStub(each) for each in (through, direct)]
    told = [status(partial(each.GetTask, request, timeout=30)) for each in stubs]
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


@pytest.mark.parametrize(("task_type", "meta"), [("chatty", b'{"number": 7}'), (BIGQUERY, b'{"job_id": "j"}')])
def test_logs_say_the_same_through_ours(
    through: grpc.Channel, direct: grpc.Channel, task_type: str, meta: bytes
) -> None:
    request = agent_pb2.GetTaskLogsRequest(task_category=agent_pb2.TaskCategory(name=task_type), resource_meta=meta)

    def logs(channel: grpc.Channel) -> object:
        try:
            return list(agent_pb2_grpc.AsyncAgentServiceStub(channel).GetTaskLogs(request, timeout=30))
        except grpc.RpcError as error:
            return error.code(), error.details()

    assert logs(through) == logs(direct)


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
