"""Flyte 2, called by its own stubs; sync connectors run as jobs there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import grpc
import pytest
from flyteidl2.connector import connector_pb2, service_pb2_grpc
from flyteidl2.core import (
    execution_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    security_pb2,
    tasks_pb2,
    types_pb2,
)
from flyteidl2.task import common_pb2

from connectors import Context, LogPage, Phase, RateLimited, Resource, ResourceError, TaskLog
from connectors._engine.options import EngineOptions
from connectors._engine.sync_calls import sync_key
from connectors._stores.memory import MemoryStore
from connectors._stores.store import Payload, StoreUnavailable
from connectors._wire.stored_forms import MessageForms
from tests.wire.connectors_for_tests import Served, log_line, serving

pytestmark = pytest.mark.anyio

Phases = execution_pb2.TaskExecution
TOKEN = "fake-acme-token-0123456789"


def text(value: str) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))


def inputs(values: Mapping[str, str]) -> common_pb2.Inputs:
    return common_pb2.Inputs(
        literals=[common_pb2.NamedLiteral(name=name, value=text(value)) for name, value in values.items()]
    )


def connection(token: str = TOKEN) -> security_pb2.Connection:
    return security_pb2.Connection(secrets={"acme_token": token}, configs={"region": "eu"})


def create_request(task_type: str = "acme", prefix: str = "s3://b/run/a0/1", **values: str) -> Any:
    execution = identifier_pb2.TaskExecutionIdentifier(
        task_id=identifier_pb2.Identifier(project="p", domain="d", name="t", version="v"),
        node_execution_id=identifier_pb2.NodeExecutionIdentifier(
            node_id="a0",
            execution_id=identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name="run"),
        ),
    )
    return connector_pb2.CreateTaskRequest(
        template=tasks_pb2.TaskTemplate(
            type=task_type,
            interface=interface_pb2.TypedInterface(
                inputs=interface_pb2.VariableMap(
                    variables=[
                        interface_pb2.VariableEntry(
                            key="o0",
                            value=interface_pb2.Variable(type=types_pb2.LiteralType(simple=types_pb2.STRING)),
                        )
                    ]
                )
            ),
        ),
        inputs=inputs(values or {"o0": "hello"}),
        output_prefix=prefix,
        task_execution_metadata=connector_pb2.TaskExecutionMetadata(task_execution_id=execution),
        connection=connection(),
    )


def category(name: str = "acme") -> connector_pb2.TaskCategory:
    return connector_pb2.TaskCategory(name=name)


class Stubs:
    def __init__(self, served: Served) -> None:
        self.tasks = service_pb2_grpc.AsyncConnectorServiceStub(served.channel)
        self.metadata = service_pb2_grpc.ConnectorMetadataServiceStub(served.channel)

    async def create(self, request: Any = None, **options: Any) -> bytes:
        answer = await self.tasks.CreateTask(request or create_request(), timeout=10, **options)
        meta: bytes = answer.resource_meta
        return meta

    async def get(self, meta: bytes, task_type: str = "acme") -> Any:
        request = connector_pb2.GetTaskRequest(
            resource_meta=meta, task_category=category(task_type), connection=connection()
        )
        return (await self.tasks.GetTask(request, timeout=10)).resource

    async def delete(self, meta: bytes, task_type: str = "acme") -> None:
        request = connector_pb2.DeleteTaskRequest(
            resource_meta=meta, task_category=category(task_type), connection=connection()
        )
        await self.tasks.DeleteTask(request, timeout=10)

    async def ended(self, meta: bytes, task_type: str = "echo") -> Any:
        """The resource once it is over."""
        with anyio.fail_after(10):
            while True:
                resource = await self.get(meta, task_type)
                if resource.phase != Phases.RUNNING:
                    return resource


@pytest.fixture
def stubs(served: Served) -> Stubs:
    return Stubs(served)


async def test_a_job_is_created_polled_to_its_end_and_deleted(served: Served, stubs: Stubs) -> None:
    served.acme.answers = [Resource(Phase.RUNNING), Resource(Phase.SUCCEEDED)]
    meta = await stubs.create()
    phases = [(await stubs.get(meta)).phase for _ in range(2)]
    await stubs.delete(meta)
    assert phases == [Phases.RUNNING, Phases.SUCCEEDED]
    assert [job.number for job in served.acme.deleted] == [1]


async def test_the_connections_secrets_reach_create_get_and_delete(served: Served, stubs: Stubs) -> None:
    meta = await stubs.create()
    await stubs.get(meta)
    await stubs.delete(meta)
    assert served.acme.created[0].token == TOKEN
    assert served.acme.tokens == [TOKEN, TOKEN]


async def test_inputs_and_the_interface_keep_the_order_of_their_lists(served: Served, stubs: Stubs) -> None:
    await stubs.create(create_request(z="1", a="2", m="3"))
    (given,) = served.acme.created
    assert list(given.inputs.items()) == [("z", "1"), ("a", "2"), ("m", "3")]
    assert given.task.interface.inputs["o0"].kind == "string"


async def test_outputs_keep_the_order_in_which_the_connector_gave_them(served: Served, stubs: Stubs) -> None:
    served.acme.answers = [
        Resource(
            Phase.SUCCEEDED,
            outputs={"z": 1, "a": [1, 2]},
            log_links=(TaskLog("https://x.example", "UI"), TaskLog("https://y.example", "Later", ready=False)),
        )
    ]
    resource = await stubs.get(await stubs.create())
    assert [each.name for each in resource.outputs.literals] == ["z", "a"]
    assert [each.ready for each in resource.log_links] == [True, False]


async def test_logs_come_as_a_header_with_the_token_and_a_body(served: Served, stubs: Stubs) -> None:
    served.acme.page = LogPage((log_line("one"),), token="next")
    request = connector_pb2.GetTaskLogsRequest(resource_meta=await stubs.create(), task_category=category())
    header, body = [each async for each in stubs.tasks.GetTaskLogs(request, timeout=10)]
    assert header.header.token == "next"
    assert [each.message for each in body.body.lines] == ["one"]


async def test_metrics_are_answered(served: Served, stubs: Stubs) -> None:
    request = connector_pb2.GetTaskMetricsRequest(
        resource_meta=await stubs.create(), task_category=category(), queries=["cpu"]
    )
    assert [each.metric for each in (await stubs.tasks.GetTaskMetrics(request, timeout=10)).results] == ["cpu"]


async def test_the_list_names_every_connector(served: Served, stubs: Stubs) -> None:
    found = (await stubs.metadata.ListConnectors(connector_pb2.ListConnectorsRequest(), timeout=10)).connectors
    one = await stubs.metadata.GetConnector(connector_pb2.GetConnectorRequest(name="Echo Connector"), timeout=10)
    assert [(each.supported_task_categories[0].name, each.supported_task_categories[0].version) for each in found] == [
        ("acme", 0),
        ("acme", 1),
        ("bare", 0),
        ("echo", 0),
    ]
    assert one.connector == found[-1]


# --- an idempotency key of the caller's own


async def test_an_explicit_key_makes_one_job_of_two_prefixes(served: Served, stubs: Stubs) -> None:
    named = [("idempotency-key", "order-17")]
    first = await stubs.create(create_request(prefix="s3://b/1"), metadata=named)
    assert await stubs.create(create_request(prefix="s3://b/2"), metadata=named) == first
    assert len(served.acme.created) == 1


async def test_an_explicit_key_for_another_request_is_a_conflict(served: Served, stubs: Stubs) -> None:
    named = [("idempotency-key", "order-17")]
    await stubs.create(create_request(), metadata=named)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stubs.create(create_request(o0="another"), metadata=named)
    assert failure.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "idempotency-key" in (failure.value.details() or "")


# --- a sync connector runs as a job


async def test_a_sync_call_runs_as_a_job_and_get_delivers_its_result(served: Served, stubs: Stubs) -> None:
    served.echo.gate.clear()
    meta = await stubs.create(create_request("echo"))
    assert (await stubs.get(meta, "echo")).phase == Phases.RUNNING
    served.echo.gate.set()
    resource = await stubs.ended(meta)
    assert resource.phase == Phases.SUCCEEDED
    assert resource.outputs.literals[0].value.scalar.primitive.string_value == "hello"
    assert (await stubs.get(meta, "echo")) == resource


async def test_a_replica_that_finds_the_call_lost_runs_it_again_with_its_pollers_secrets() -> None:
    store, slow = MemoryStore(), EngineOptions(lease=0.05)
    async with serving(store=store) as second:
        async with serving(store=store, options=slow) as first:
            first.echo.gate.clear()
            meta = await Stubs(first).create(create_request("echo"))
            kept = await store.load(_key(meta), "request")
        resource = await Stubs(second).ended(meta)
        assert resource.outputs.literals[0].value.scalar.primitive.string_value == "hello"
        (given,) = second.echo.calls
        assert given.token == TOKEN
        assert given.output_prefix == "s3://b/run/a0/1"
        assert given.metadata.task_execution_id is not None
    assert kept is not None
    assert TOKEN.encode() not in kept


def _key(meta: bytes) -> str:
    key = meta.decode().partition('":"')[2].removesuffix('"}')
    assert len(key) == 36
    return sync_key("echo", key)


async def test_a_result_that_is_too_large_to_keep_fails_the_job_and_says_so() -> None:
    async with serving(options=EngineOptions(result_max_bytes=300)) as served:
        stubs = Stubs(served)
        served.echo.answer = lambda _: Resource(Phase.SUCCEEDED, outputs={"o0": "x" * 1_000})
        resource = await stubs.ended(await stubs.create(create_request("echo")))
        assert resource.phase == Phases.FAILED
        assert "larger than the 300 bytes" in resource.message


async def test_an_error_of_a_sync_call_is_a_phase_of_its_job(served: Served, stubs: Stubs) -> None:
    def refuse(_: Context) -> Resource:
        raise RateLimited("the model is busy")

    served.echo.answer = refuse
    resource = await stubs.ended(await stubs.create(create_request("echo")))
    assert resource.phase == Phases.RETRYABLE_FAILED
    assert "the model is busy" in resource.message


async def test_a_result_that_no_literal_holds_fails_its_job_and_is_not_run_again(served: Served, stubs: Stubs) -> None:
    served.echo.answer = lambda _: Resource(Phase.SUCCEEDED, outputs={"o0": object()})
    meta = await stubs.create(create_request("echo"))
    resource = await stubs.ended(meta)
    assert resource.phase == Phases.FAILED
    assert "error id" in resource.message
    assert await stubs.ended(meta) == resource
    assert len(served.echo.calls) == 1


@pytest.mark.parametrize(
    ("phase", "meanwhile"), [(Phase.SUCCEEDED, Phases.RUNNING), (Phase.RETRYABLE_FAILED, Phases.RETRYABLE_FAILED)]
)
async def test_a_poll_is_answered_while_the_store_is_down(phase: Phase, meanwhile: int) -> None:
    store = FragileStore()
    async with serving(store=store) as served:
        stubs = Stubs(served)
        outputs = {"o0": "x"} if phase is Phase.SUCCEEDED else None
        served.echo.answer = lambda _: Resource(phase, outputs=outputs)
        meta = await stubs.create(create_request("echo"))
        before = await stubs.ended(meta)
        store.is_down = True
        assert (await stubs.get(meta, "echo")).phase == meanwhile
        assert served.events[-1].shielded
        store.is_down = False
        assert await stubs.get(meta, "echo") == before


class FragileStore(MemoryStore):
    is_down = False

    async def load(self, key: str, kind: Payload) -> bytes | None:
        if self.is_down:
            raise StoreUnavailable
        return await super().load(key, kind)


async def test_a_deleted_sync_call_is_aborted(served: Served, stubs: Stubs) -> None:
    served.echo.gate.clear()
    meta = await stubs.create(create_request("echo"))
    await stubs.delete(meta, "echo")
    assert (await stubs.ended(meta)).phase == Phases.ABORTED


# --- what the store keeps


@pytest.mark.parametrize(
    "resource",
    [
        Resource(Phase.SUCCEEDED),
        Resource(Phase.SUCCEEDED, outputs={}),
        Resource(Phase.FAILED, "no", error=ResourceError("Quota", recoverable=True, origin="USER")),
        Resource(
            Phase.SUCCEEDED,
            "yes",
            log_links=(TaskLog("https://x.example", "UI", ready=False),),
            outputs={"z": 1, "a": {"x": [1, None, 2.5]}, "n": None},
            custom_info={"tokens": 12},
        ),
    ],
)
def test_a_stored_result_is_read_as_it_was_written(resource: Resource) -> None:
    forms = MessageForms()
    assert forms.decode_result(forms.encode_result(resource)) == resource
