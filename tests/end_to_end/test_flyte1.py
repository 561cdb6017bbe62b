"""Flyte 1's own stubs, unchanged, against a real server and a BigQuery that others wrote."""

from __future__ import annotations

import itertools
import time
import urllib.request
from collections.abc import Iterator

import grpc
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2, identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl.service import agent_pb2_grpc
from google.protobuf import struct_pb2

from demo.server_process import Server
from tests.end_to_end.polling import until_terminal

PHASE = execution_pb2.TaskExecution
QUERY = "bigquery_query_job_task"
_numbers = itertools.count()


def metadata(name: str) -> agent_pb2.TaskExecutionMetadata:
    execution = identifier_pb2.WorkflowExecutionIdentifier(project="proj", domain="development", name=name)
    return agent_pb2.TaskExecutionMetadata(
        task_execution_id=identifier_pb2.TaskExecutionIdentifier(
            task_id=identifier_pb2.Identifier(
                resource_type=identifier_pb2.TASK, project="proj", domain="development", name="wf.query", version="v1"
            ),
            node_execution_id=identifier_pb2.NodeExecutionIdentifier(node_id="n0", execution_id=execution),
        ),
        namespace="proj-development",
    )


def query(sql: str, *, name: str = "") -> agent_pb2.CreateTaskRequest:
    custom = struct_pb2.Struct()
    custom.update({"ProjectID": "proj", "Location": "US", "Domain": "development"})
    name = name or f"ex{next(_numbers)}-{time.time_ns()}"
    return agent_pb2.CreateTaskRequest(
        template=tasks_pb2.TaskTemplate(
            type=QUERY, custom=custom, sql=tasks_pb2.Sql(statement=sql, dialect=tasks_pb2.Sql.ANSI)
        ),
        output_prefix=f"s3://bucket/{name}/n0/0",
        task_execution_metadata=metadata(name),
    )


def until_over(stub: agent_pb2_grpc.AsyncAgentServiceStub, meta: bytes) -> agent_pb2.Resource:
    request = agent_pb2.GetTaskRequest(resource_meta=meta, task_category=agent_pb2.TaskCategory(name=QUERY))
    resource: agent_pb2.Resource = until_terminal(lambda: stub.GetTask(request, timeout=10).resource)
    return resource


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> agent_pb2_grpc.AsyncAgentServiceStub:
    return agent_pb2_grpc.AsyncAgentServiceStub(channel)


def test_a_query_runs_from_create_to_succeeded_with_its_results_and_its_link(
    stub: agent_pb2_grpc.AsyncAgentServiceStub,
) -> None:
    meta = stub.CreateTask(query("SELECT 1 AS one"), timeout=10).resource_meta
    resource = until_over(stub, meta)
    assert resource.phase == PHASE.SUCCEEDED
    assert resource.outputs.literals["results"].scalar.structured_dataset.uri.startswith("bq://proj:")
    (link,) = resource.log_links
    assert link.name == "BigQuery Console"
    assert link.uri.startswith("https://console.cloud.google.com/bigquery?project=proj&j=bq:US:")


def test_the_same_create_again_is_the_same_job(stub: agent_pb2_grpc.AsyncAgentServiceStub) -> None:
    request = query("SELECT 2 AS two")
    assert stub.CreateTask(request, timeout=10) == stub.CreateTask(request, timeout=10)


def test_a_query_that_is_no_sql_fails_with_the_platform_s_words(stub: agent_pb2_grpc.AsyncAgentServiceStub) -> None:
    created = stub.CreateTask.future(query("SELEC 1"), timeout=10)
    if created.code() == grpc.StatusCode.OK:
        resource = until_over(stub, created.result().resource_meta)
        assert resource.phase == PHASE.FAILED
        assert resource.message
    else:  # an emulator may refuse at once what BigQuery lets fail
        assert created.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert created.details()


def test_delete_is_quiet_on_a_finished_job_and_again(stub: agent_pb2_grpc.AsyncAgentServiceStub) -> None:
    meta = stub.CreateTask(query("SELECT 3 AS three"), timeout=10).resource_meta
    until_over(stub, meta)
    request = agent_pb2.DeleteTaskRequest(resource_meta=meta, task_category=agent_pb2.TaskCategory(name=QUERY))
    for _ in range(2):
        stub.DeleteTask(request, timeout=10)


def test_a_caller_that_sends_the_deprecated_task_type_alone_is_served(
    stub: agent_pb2_grpc.AsyncAgentServiceStub,
) -> None:
    meta = stub.CreateTask(query("SELECT 4 AS four"), timeout=10).resource_meta
    resource = stub.GetTask(agent_pb2.GetTaskRequest(resource_meta=meta, task_type=QUERY), timeout=10).resource
    assert resource.phase in {PHASE.RUNNING, PHASE.QUEUED, PHASE.SUCCEEDED}


def test_a_job_that_the_platform_does_not_show_goes_on_at_first(stub: agent_pb2_grpc.AsyncAgentServiceStub) -> None:
    # it may be too young to be shown; one that stays away for a minute has failed: the engine's tests wait for that
    meta = b'{"job_id":"00000000-0000-5000-8000-000000000000","project":"proj","location":"US"}'
    request = agent_pb2.GetTaskRequest(resource_meta=meta, task_category=agent_pb2.TaskCategory(name=QUERY))
    resource = stub.GetTask(request, timeout=10).resource
    assert resource.phase == PHASE.RUNNING
    assert resource.custom_info["fault"]["status"] == "NOT_FOUND"


def test_the_lists_name_both_connectors_and_their_kinds(channel: grpc.Channel) -> None:
    stub = agent_pb2_grpc.AgentMetadataServiceStub(channel)
    agents = stub.ListAgents(agent_pb2.ListAgentsRequest(), timeout=10).agents
    kinds = {agent.supported_task_categories[0].name: agent.is_sync for agent in agents}
    assert kinds == {QUERY: False, "greeter": True}
    assert [list(agent.supported_task_types) for agent in agents] == [[QUERY], ["greeter"]]
    named = stub.GetAgent(agent_pb2.GetAgentRequest(name=agents[0].name), timeout=10).agent
    assert named == agents[0]


def sync_request(**inputs: str) -> Iterator[agent_pb2.ExecuteTaskSyncRequest]:
    name = f"ex{next(_numbers)}-{time.time_ns()}"
    text = types_pb2.LiteralType(simple=types_pb2.STRING)
    template = tasks_pb2.TaskTemplate(
        type="greeter",
        interface=interface_pb2.TypedInterface(
            inputs=interface_pb2.VariableMap(variables={"name": interface_pb2.Variable(type=text)}),
            outputs=interface_pb2.VariableMap(variables={"o0": interface_pb2.Variable(type=text)}),
        ),
    )
    header = agent_pb2.CreateRequestHeader(
        template=template, output_prefix=f"s3://bucket/{name}/n0/0", task_execution_metadata=metadata(name)
    )
    yield agent_pb2.ExecuteTaskSyncRequest(header=header)
    literals = {
        key: literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))
        for key, value in inputs.items()
    }
    yield agent_pb2.ExecuteTaskSyncRequest(inputs=literals_pb2.LiteralMap(literals=literals))


def test_a_sync_connector_answers_at_once(channel: grpc.Channel) -> None:
    stub = agent_pb2_grpc.SyncAgentServiceStub(channel)
    (answer,) = stub.ExecuteTaskSync(sync_request(name="Ada"), timeout=10)
    assert answer.header.resource.phase == PHASE.SUCCEEDED
    assert answer.header.resource.outputs.literals["o0"].scalar.primitive.string_value == "hello Ada"


def test_a_sync_connector_s_failure_carries_its_error_code(channel: grpc.Channel) -> None:
    stub = agent_pb2_grpc.SyncAgentServiceStub(channel)
    (answer,) = stub.ExecuteTaskSync(sync_request(name="nobody"), timeout=10)
    assert answer.header.resource.phase == PHASE.FAILED
    assert answer.header.resource.agent_error.code == "Nobody"


def test_a_sync_connector_s_refusal_is_a_status(channel: grpc.Channel) -> None:
    stub = agent_pb2_grpc.SyncAgentServiceStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.ExecuteTaskSync(sync_request(), timeout=10))
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "the input 'name' is missing"


def test_the_metrics_count_what_was_called(stub: agent_pb2_grpc.AsyncAgentServiceStub, server: Server) -> None:
    stub.CreateTask(query("SELECT 5 AS five"), timeout=10)
    with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:  # noqa: S310 - an address of this machine
        text = answer.read().decode()
    assert f'flyte_connector_requests_success_total{{operation="create",task_type="{QUERY}"}}' in text
