"""Flyte 1, called by its own stubs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2, identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl.service import agent_pb2_grpc
from google.protobuf import json_format, struct_pb2

from connectors import LogPage, Phase, Resource, ResourceError, Sql, TaskLog
from connectors._engine.options import EngineOptions
from connectors._stores.memory import MemoryStore
from tests.wire.connectors_for_tests import Served, log_line, serving

pytestmark = pytest.mark.anyio

Phases = execution_pb2.TaskExecution


def integer(value: int) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def text(value: str) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))


def inputs(**values: literals_pb2.Literal) -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap(literals=values)


def custom(**values: Any) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    json_format.ParseDict(values, struct)
    return struct


def metadata(attempt: int = 0) -> agent_pb2.TaskExecutionMetadata:
    return agent_pb2.TaskExecutionMetadata(
        task_execution_id=identifier_pb2.TaskExecutionIdentifier(
            task_id=identifier_pb2.Identifier(
                resource_type=identifier_pb2.TASK,
                project="flytesnacks",
                domain="development",
                name="wf.t",
                version="v1",
            ),
            node_execution_id=identifier_pb2.NodeExecutionIdentifier(
                node_id="n0",
                execution_id=identifier_pb2.WorkflowExecutionIdentifier(
                    project="flytesnacks", domain="development", name="ex1"
                ),
            ),
            retry_attempt=attempt,
        ),
        namespace="flytesnacks-development",
        labels={"team": "data"},
        k8s_service_account="default",
    )


def variables(**types: int) -> interface_pb2.VariableMap:
    declared = {name: interface_pb2.Variable(type=types_pb2.LiteralType(simple=kind)) for name, kind in types.items()}
    return interface_pb2.VariableMap(variables=declared)


def create_request(task_type: str = "acme", prefix: str = "s3://b/ex1/n0/0", **parts: Any) -> Any:
    return agent_pb2.CreateTaskRequest(
        template=tasks_pb2.TaskTemplate(type=task_type, **parts),
        inputs=inputs(n=integer(7), who=text("Ada")),
        output_prefix=prefix,
        task_execution_metadata=metadata(),
    )


def category(name: str = "acme", version: int = 0) -> agent_pb2.TaskCategory:
    return agent_pb2.TaskCategory(name=name, version=version)


def sync_parts(task_type: str = "echo", prefix: str = "", **parts: Any) -> list[Any]:
    header = agent_pb2.CreateRequestHeader(
        template=tasks_pb2.TaskTemplate(type=task_type, **parts), output_prefix=prefix, max_dataset_size_bytes=1
    )
    if prefix:
        header.task_execution_metadata.CopyFrom(metadata())
    return [
        agent_pb2.ExecuteTaskSyncRequest(header=header),
        agent_pb2.ExecuteTaskSyncRequest(inputs=inputs(o0=text("hello"))),
    ]


class Stubs:
    def __init__(self, served: Served) -> None:
        self.tasks = agent_pb2_grpc.AsyncAgentServiceStub(served.channel)
        self.sync = agent_pb2_grpc.SyncAgentServiceStub(served.channel)
        self.metadata = agent_pb2_grpc.AgentMetadataServiceStub(served.channel)

    async def create(self, request: Any = None) -> bytes:
        answer = await self.tasks.CreateTask(request or create_request(), timeout=10)
        meta: bytes = answer.resource_meta
        return meta

    async def get(self, meta: bytes, **parts: Any) -> Any:
        request = agent_pb2.GetTaskRequest(resource_meta=meta, **(parts or {"task_category": category()}))
        return (await self.tasks.GetTask(request, timeout=10)).resource

    async def execute(self, parts: list[Any], **options: Any) -> list[Any]:
        return [each async for each in self.sync.ExecuteTaskSync(iter(parts), timeout=10, **options)]


@pytest.fixture
def stubs(served: Served) -> Stubs:
    return Stubs(served)


async def test_a_job_is_created_polled_to_its_end_and_deleted(served: Served, stubs: Stubs) -> None:
    served.acme.answers = [Resource(Phase.QUEUED), Resource(Phase.RUNNING), Resource(Phase.SUCCEEDED)]
    meta = await stubs.create()
    phases = [(await stubs.get(meta)).phase for _ in range(3)]
    await stubs.tasks.DeleteTask(agent_pb2.DeleteTaskRequest(resource_meta=meta, task_category=category()), timeout=10)
    assert phases == [Phases.QUEUED, Phases.RUNNING, Phases.SUCCEEDED]
    assert [job.number for job in served.acme.deleted] == [1]
    assert [event.operation for event in served.events] == ["create", "get", "get", "get", "delete"]


async def test_a_connector_is_given_the_task_its_inputs_and_who_calls(served: Served, stubs: Stubs) -> None:
    await stubs.create(
        create_request(
            custom=custom(Location="EU", retries=3, nested={"x": [1, 2.5, None]}),
            sql=tasks_pb2.Sql(statement="SELECT 1", dialect=tasks_pb2.Sql.ANSI),
            config={"user": "ada"},
            interface=interface_pb2.TypedInterface(inputs=variables(n=types_pb2.INTEGER)),
        )
    )
    (given,) = served.acme.created
    assert given.inputs == {"n": 7, "who": "Ada"}
    assert given.task.custom == {"Location": "EU", "retries": 3, "nested": {"x": [1, 2.5, None]}}
    assert given.task.sql == Sql("SELECT 1", "ANSI")
    assert given.task.config == {"user": "ada"}
    assert given.task.interface.inputs["n"].kind == "integer"
    assert given.metadata.task_execution_id is not None
    assert given.metadata.task_execution_id.execution == "ex1"
    assert given.metadata.task_execution_id.task_id.resource_type == "TASK"
    assert given.metadata.labels == {"team": "data"}
    assert given.metadata.namespace == "flytesnacks-development"
    assert given.output_prefix == "s3://b/ex1/n0/0"
    assert len(given.key) == 36


async def test_the_same_create_again_gives_the_same_meta_and_no_second_job(served: Served, stubs: Stubs) -> None:
    assert await stubs.create() == await stubs.create()
    assert len(served.acme.created) == 1


async def test_the_version_of_the_task_type_chooses_the_connector(served: Served, stubs: Stubs) -> None:
    await stubs.create(create_request(task_type_version=1))
    assert (len(served.acme.created), len(served.new_acme.created)) == (0, 1)


async def test_a_resource_carries_everything_that_a_connector_says(served: Served, stubs: Stubs) -> None:
    served.acme.answers = [
        Resource(
            Phase.SUCCEEDED,
            "done",
            log_links=(TaskLog("https://x.example/1", "Console"),),
            outputs={"n": 1 << 62, "s": "ö", "none": None, "when": timedelta(seconds=1.5)},
            custom_info={"bytes": 12, "list": [True, None]},
            error=ResourceError("Quota", recoverable=True, origin="SYSTEM"),
        )
    ]
    resource = await stubs.get(await stubs.create())
    literals = resource.outputs.literals
    assert resource.message == "done"
    assert [(each.uri, each.name) for each in resource.log_links] == [("https://x.example/1", "Console")]
    assert literals["n"].scalar.primitive.integer == 1 << 62
    assert literals["s"].scalar.primitive.string_value == "ö"
    assert literals["none"].scalar.HasField("none_type")
    assert literals["when"].scalar.primitive.duration.nanos == 500_000_000
    assert json_format.MessageToDict(resource.custom_info) == {"bytes": 12.0, "list": [True, None]}
    assert (resource.agent_error.code, resource.agent_error.kind) == ("Quota", agent_pb2.AgentError.RECOVERABLE)
    assert resource.agent_error.origin == execution_pb2.ExecutionError.SYSTEM


async def test_a_resource_without_outputs_leaves_the_field_absent(served: Served, stubs: Stubs) -> None:
    resource = await stubs.get(await stubs.create())
    assert not resource.HasField("outputs")
    assert not resource.HasField("custom_info")
    assert not resource.HasField("agent_error")


async def test_half_a_character_in_a_platforms_message_does_not_fail_the_poll(served: Served, stubs: Stubs) -> None:
    served.acme.answers = [Resource(Phase.FAILED, "bad \ud83d text")]
    resource = await stubs.get(await stubs.create())
    assert (resource.phase, resource.message) == (Phases.FAILED, "bad ? text")


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        (Phase.QUEUED, agent_pb2.PENDING),
        (Phase.INITIALIZING, agent_pb2.PENDING),
        (Phase.WAITING_FOR_RESOURCES, agent_pb2.PENDING),
        (Phase.RUNNING, agent_pb2.RUNNING),
        (Phase.SUCCEEDED, agent_pb2.SUCCEEDED),
        (Phase.ABORTED, agent_pb2.PERMANENT_FAILURE),
        (Phase.FAILED, agent_pb2.PERMANENT_FAILURE),
        (Phase.RETRYABLE_FAILED, agent_pb2.RETRYABLE_FAILURE),
    ],
)
async def test_callers_that_read_the_deprecated_state_get_it(
    served: Served, stubs: Stubs, phase: Phase, state: int
) -> None:
    served.acme.answers = [Resource(phase)]
    resource = await stubs.get(await stubs.create())
    assert (resource.phase, resource.state) == (phase.value, state)


async def test_a_job_is_found_by_the_deprecated_task_type(served: Served, stubs: Stubs) -> None:
    meta = await stubs.create()
    assert (await stubs.get(meta, task_type="acme")).phase == Phases.SUCCEEDED


async def test_the_task_category_wins_over_the_deprecated_task_type(served: Served, stubs: Stubs) -> None:
    meta = await stubs.create(create_request(task_type_version=1))
    served.new_acme.answers = [Resource(Phase.QUEUED)]
    resource = await stubs.get(meta, task_type="acme", task_category=category(version=1))
    assert resource.phase == Phases.QUEUED


async def test_get_hands_the_output_prefix_on(served: Served, stubs: Stubs) -> None:
    await stubs.get(await stubs.create(), task_category=category(), output_prefix="s3://b/x")
    assert served.acme.prefixes == ["s3://b/x"]


async def test_logs_come_as_a_header_with_the_token_and_a_body(served: Served, stubs: Stubs) -> None:
    served.acme.page = LogPage((log_line("one"), log_line("two")), token="next")
    request = agent_pb2.GetTaskLogsRequest(
        resource_meta=await stubs.create(), task_category=category(), lines=2, token="t"
    )
    header, body = [each async for each in stubs.tasks.GetTaskLogs(request, timeout=10)]
    assert header.header.token == "next"
    assert [(each.message, each.originator) for each in body.body.structured_lines] == [
        ("one", agent_pb2.USER),
        ("two", agent_pb2.USER),
    ]
    assert list(body.body.results) == ["one", "two"]
    assert served.acme.asked == [{"lines": 2, "token": "t"}]


async def test_a_long_page_of_logs_comes_in_several_messages(served: Served, stubs: Stubs) -> None:
    lines = tuple(log_line(f"{number:06}" * 10_000) for number in range(100))
    served.acme.page = LogPage(lines)
    request = agent_pb2.GetTaskLogsRequest(resource_meta=await stubs.create(), task_category=category())
    answers = [each async for each in stubs.tasks.GetTaskLogs(request, timeout=10)]
    found = [line.message for each in answers for line in each.body.structured_lines]
    assert found == [line.message for line in lines]
    assert len(answers) > 5
    assert max(each.ByteSize() for each in answers) < 4 * 1024 * 1024


async def test_metrics_are_asked_for_with_their_times(served: Served, stubs: Stubs) -> None:
    request = agent_pb2.GetTaskMetricsRequest(
        resource_meta=await stubs.create(), task_category=category(), queries=["cpu", "memory"]
    )
    request.start_time.FromDatetime(datetime(2024, 2, 29, tzinfo=UTC))
    request.step.FromTimedelta(timedelta(seconds=30))
    results = (await stubs.tasks.GetTaskMetrics(request, timeout=10)).results
    assert [each.metric for each in results] == ["cpu", "memory"]
    assert json_format.MessageToDict(results[0].data) == {"values": [1.0, 2.5]}
    assert served.acme.asked == [
        {
            "queries": ("cpu", "memory"),
            "start": datetime(2024, 2, 29, tzinfo=UTC),
            "end": None,
            "step": timedelta(seconds=30),
        }
    ]


async def test_logs_and_metrics_are_unimplemented_where_a_connector_has_none(served: Served, stubs: Stubs) -> None:
    meta = await stubs.create(create_request("bare"))
    request = agent_pb2.GetTaskMetricsRequest(resource_meta=meta, task_category=category("bare"))
    with pytest.raises(grpc.aio.AioRpcError) as metrics:
        await stubs.tasks.GetTaskMetrics(request, timeout=10)
    request = agent_pb2.GetTaskLogsRequest(resource_meta=meta, task_category=category("bare"))
    with pytest.raises(grpc.aio.AioRpcError) as logs:
        _ = [each async for each in stubs.tasks.GetTaskLogs(request, timeout=10)]
    assert (metrics.value.code(), metrics.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, "bare has no metrics")
    assert (logs.value.code(), logs.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, "bare has no logs")


# --- calls that answer at once


async def test_a_sync_call_is_answered_by_one_header_with_its_resource(served: Served, stubs: Stubs) -> None:
    (answer,) = await stubs.execute(sync_parts())
    assert answer.WhichOneof("res") == "header"
    assert answer.header.resource.phase == Phases.SUCCEEDED
    assert answer.header.resource.outputs.literals["o0"].scalar.primitive.string_value == "hello"


async def test_the_answer_comes_to_a_caller_that_has_not_half_closed(served: Served, stubs: Stubs) -> None:
    stream = stubs.sync.ExecuteTaskSync(timeout=10)
    for part in sync_parts():
        await stream.write(part)
    answer = await stream.read()
    assert answer.header.resource.phase == Phases.SUCCEEDED


async def test_a_task_that_declares_no_inputs_may_be_called_without(served: Served, stubs: Stubs) -> None:
    (answer,) = await stubs.execute(sync_parts()[:1])
    assert answer.header.resource.phase == Phases.SUCCEEDED
    assert served.echo.calls[0].inputs == {}


async def test_outputs_of_a_sync_call_are_of_their_declared_types(served: Served, stubs: Stubs) -> None:
    served.echo.answer = lambda _: Resource(Phase.SUCCEEDED, outputs={"o0": 3})
    interface = interface_pb2.TypedInterface(outputs=variables(o0=types_pb2.FLOAT))
    (answer,) = await stubs.execute(sync_parts(interface=interface))
    assert answer.header.resource.outputs.literals["o0"].scalar.primitive.float_value == 3.0


async def test_an_output_that_is_not_of_its_declared_type_is_named(served: Served, stubs: Stubs) -> None:
    interface = interface_pb2.TypedInterface(outputs=variables(o0=types_pb2.INTEGER))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stubs.execute(sync_parts(interface=interface))
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "output o0" in (failure.value.details() or "")
    assert served.events[-1].status == "INVALID_ARGUMENT"


async def test_a_sync_call_under_a_key_that_is_done_gives_the_stored_result() -> None:
    store = MemoryStore()
    async with serving(store=store) as first, serving(store=store) as second:
        (answer,) = await Stubs(first).execute(sync_parts(prefix="s3://b/ex1/n0/0"))
        (again,) = await Stubs(second).execute(sync_parts(prefix="s3://b/ex1/n0/0"))
        assert again == answer
        assert (len(first.echo.calls), len(second.echo.calls)) == (1, 0)
        assert second.events[-1].repeated


async def test_a_sync_result_that_is_too_large_to_keep_is_made_again() -> None:
    async with serving(options=EngineOptions(result_max_bytes=10)) as served:
        stubs = Stubs(served)
        for _ in range(2):
            (answer,) = await stubs.execute(sync_parts(prefix="s3://b/ex1/n0/0"))
            assert answer.header.resource.outputs.literals["o0"].scalar.primitive.string_value == "hello"
        assert len(served.echo.calls) == 2


# --- which connectors there are


async def test_the_list_names_every_connector_with_the_deprecated_fields_too(served: Served, stubs: Stubs) -> None:
    agents = (await stubs.metadata.ListAgents(agent_pb2.ListAgentsRequest(), timeout=10)).agents
    listed = [
        (each.name, [(one.name, one.version) for one in each.supported_task_categories], each.is_sync)
        for each in agents
    ]
    assert listed == [
        ("Acme Connector", [("acme", 0)], False),
        ("Acme Connector", [("acme", 1)], False),
        ("Bare Connector", [("bare", 0)], False),
        ("Echo Connector", [("echo", 0)], True),
    ]
    assert [list(each.supported_task_types) for each in agents] == [["acme"], ["acme"], ["bare"], ["echo"]]


async def test_one_agent_is_given_by_its_name_with_all_its_task_types(served: Served, stubs: Stubs) -> None:
    agent = (await stubs.metadata.GetAgent(agent_pb2.GetAgentRequest(name="Acme Connector"), timeout=10)).agent
    assert [(each.name, each.version) for each in agent.supported_task_categories] == [("acme", 0), ("acme", 1)]
    assert list(agent.supported_task_types) == ["acme"]


async def test_an_agent_that_is_not_there_is_not_found_and_the_known_ones_named(served: Served, stubs: Stubs) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stubs.metadata.GetAgent(agent_pb2.GetAgentRequest(name="Nobody"), timeout=10)
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    assert "Echo Connector" in (failure.value.details() or "")
    assert [reason for _, _, reason in served.rejected] == ["unknown_name"]
