"""What a server cannot carry out: the right status, a sentence, no traceback, a count; and everything else goes on."""

from __future__ import annotations

import gzip
from typing import Any

import grpc
import grpc.aio
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.core import literals_pb2, tasks_pb2
from flyteidl2.connector import connector_pb2
from flyteidl2.core import tasks_pb2 as tasks2_pb2

from connectors import Context, Resource
from connectors._wire.status import Status
from connectors._wire.transport import Limits
from tests.wire.connectors_for_tests import Served, serving
from tests.wire.transport_peers import REQUEST, message, raw_client
from tests.wire.transport_peers import Served as Endpoint

pytestmark = pytest.mark.anyio

V1, V2 = "/flyteidl.service.AsyncAgentService", "/flyteidl2.connector.AsyncConnectorService"
SYNC = "/flyteidl.service.SyncAgentService/ExecuteTaskSync"


def create_v1(task_type: str = "acme", **parts: Any) -> bytes:
    request = agent_pb2.CreateTaskRequest(template=tasks_pb2.TaskTemplate(type=task_type, **parts))
    data: bytes = request.SerializeToString()
    return data


def create_v2(task_type: str = "acme") -> bytes:
    request = connector_pb2.CreateTaskRequest(template=tasks2_pb2.TaskTemplate(type=task_type))
    data: bytes = request.SerializeToString()
    return data


CREATES = {V1: create_v1, V2: create_v2}


def get_v1(meta: bytes, task_type: str = "acme") -> bytes:
    category = agent_pb2.TaskCategory(name=task_type)
    data: bytes = agent_pb2.GetTaskRequest(resource_meta=meta, task_category=category).SerializeToString()
    return data


def meta_of(answer: bytes) -> bytes:
    meta: bytes = agent_pb2.CreateTaskResponse.FromString(answer).resource_meta
    return meta


def nested_inputs(depth: int) -> bytes:
    """Lists in lists, written by hand: the runtimes refuse to."""
    literal: bytes = literals_pb2.Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void())).SerializeToString()
    for _ in range(depth):
        literal = field(2, field(1, literal))  # collection { literals }
    return field(1, field(1, field(1, b"x") + field(2, literal)))  # inputs { literals { key, value } }


def field(number: int, content: bytes) -> bytes:
    size, length = len(content), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


async def refused(served: Served, method: str, data: bytes, **options: Any) -> grpc.aio.AioRpcError:
    """The error of a call that must fail; its text is a sentence for strangers, and the same channel still works."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await served.call(method, data, **options)
    return await checked(served, failure.value)


async def checked(served: Served, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
    details = error.details() or ""
    assert 10 < len(details) <= 4096
    assert not any(word in details for word in ("Traceback", 'File "', ".py", "0x"))
    assert not served.unhandled
    assert meta_of(await served.call(f"{V1}/CreateTask", create_v1())) == b'{"number":%d}' % len(served.acme.created)
    return error


async def refused_stream(served: Served, parts: list[bytes], **options: Any) -> grpc.aio.AioRpcError:
    stub: Any = served.channel.stream_stream(SYNC)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        _ = [each async for each in stub(iter(parts), timeout=10, **options)]
    return await checked(served, failure.value)


def reasons(served: Served) -> list[tuple[str, str]]:
    return [(status.name, reason) for _, status, reason in served.rejected]


def sync_header(task_type: str = "echo", **parts: Any) -> bytes:
    header = agent_pb2.CreateRequestHeader(template=tasks_pb2.TaskTemplate(type=task_type, **parts))
    data: bytes = agent_pb2.ExecuteTaskSyncRequest(header=header).SerializeToString()
    return data


def sync_inputs() -> bytes:
    data: bytes = agent_pb2.ExecuteTaskSyncRequest(inputs=literals_pb2.LiteralMap()).SerializeToString()
    return data


# --- the task type


@pytest.mark.parametrize("service", [V1, V2])
async def test_an_unknown_task_type_is_not_found_and_the_known_ones_are_named(served: Served, service: str) -> None:
    error = await refused(served, f"{service}/CreateTask", CREATES[service]("nonsense"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert all(name in (error.details() or "") for name in ("nonsense", "acme@0", "acme@1", "bare@0", "echo@0"))
    assert (served.events[0].task_type, served.events[0].status) == ("unknown", "NOT_FOUND")


async def test_an_unknown_version_of_a_task_type_is_not_found(served: Served) -> None:
    error = await refused(served, f"{V1}/CreateTask", create_v1(task_type_version=9))
    assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("service", [V1, V2])
@pytest.mark.parametrize("method", ["GetTask", "DeleteTask", "GetTaskMetrics"])
async def test_a_request_about_a_job_must_name_its_task_type(served: Served, service: str, method: str) -> None:
    error = await refused(served, f"{service}/{method}", b"")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "task_category.name" in (error.details() or "")
    assert reasons(served) == [("INVALID_ARGUMENT", "invalid_field")]


@pytest.mark.parametrize("method", ["GetTask", "DeleteTask", "GetTaskMetrics"])
async def test_a_request_about_a_job_of_an_unknown_task_type_is_not_found(served: Served, method: str) -> None:
    error = await refused(served, f"{V1}/{method}", get_v1(b"{}", "nonsense") if method == "GetTask" else named(method))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def named(method: str) -> bytes:
    message = getattr(agent_pb2, f"{method}Request")(task_category=agent_pb2.TaskCategory(name="nonsense"))
    data: bytes = message.SerializeToString()
    return data


# --- bytes


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"this is no protobuf",
        b"\x00\x01\x02",
        create_v1(config={"a": "b"})[:-2],
        field(3, b"\xc3\x28"),  # output_prefix that is not UTF-8
        field(2, field(2, b"\xff")),  # template.type that is not UTF-8
        b"\x10\x05",  # a number where the template belongs
        field(2, b"\x0b\x0c"),  # a group
        nested_inputs(1_000) + create_v1(),
        field(5, b"")[:1] + create_v1(),
    ],
    ids=["ones", "text", "field-0", "cut", "utf8", "inner-utf8", "wire-type", "group", "deep", "cut-tag"],
)
@pytest.mark.parametrize("service", [V1, V2])
async def test_bytes_that_are_no_request_are_internal_as_grpc_has_it(served: Served, service: str, data: bytes) -> None:
    error = await refused(served, f"{service}/CreateTask", data)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "CreateTaskRequest" in (error.details() or "")
    assert reasons(served) == [("INTERNAL", "malformed")]


@pytest.mark.parametrize(
    "path",
    [
        f"{V1}/GetTask",
        f"{V1}/DeleteTask",
        f"{V1}/GetTaskMetrics",
        f"{V1}/GetTaskLogs",
        f"{V2}/GetTask",
        f"{V2}/DeleteTask",
        f"{V2}/GetTaskMetrics",
        f"{V2}/GetTaskLogs",
        "/flyteidl.service.AgentMetadataService/GetAgent",
        "/flyteidl.service.AgentMetadataService/ListAgents",
        "/flyteidl2.connector.ConnectorMetadataService/GetConnector",
        "/flyteidl2.connector.ConnectorMetadataService/ListConnectors",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
    ],
)
async def test_every_method_refuses_bytes_that_are_no_request(served: Served, path: str) -> None:
    error = await refused(served, path, b"\xff\xff\xff\xff\xff")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert reasons(served) == [("INTERNAL", "malformed")]


async def test_inputs_nested_as_deep_as_protobuf_allows_are_taken(served: Served) -> None:
    data = nested_inputs(40) + create_v1()
    assert meta_of(await served.call(f"{V1}/CreateTask", data))


async def test_a_time_that_python_cannot_hold_is_named(served: Served) -> None:
    request = agent_pb2.GetTaskMetricsRequest(resource_meta=b"{}", task_category=agent_pb2.TaskCategory(name="acme"))
    request.start_time.seconds = 1 << 60
    error = await refused(served, f"{V1}/GetTaskMetrics", request.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "start_time" in (error.details() or "")
    assert reasons(served) == [("INVALID_ARGUMENT", "invalid_field")]


async def test_an_input_that_has_no_value_is_named(served: Served) -> None:
    request = agent_pb2.CreateTaskRequest(template=tasks_pb2.TaskTemplate(type="acme"))
    request.inputs.literals["query"].SetInParent()
    error = await refused(served, f"{V1}/CreateTask", request.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "query" in (error.details() or "")


# --- what a create needs


@pytest.mark.parametrize("service", [V1, V2])
async def test_a_missing_template_is_named(served: Served, service: str) -> None:
    error = await refused(served, f"{service}/CreateTask", field(3, b"s3://b/x"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith("template is missing")
    assert reasons(served) == [("INVALID_ARGUMENT", "invalid_field")]


@pytest.mark.parametrize("service", [V1, V2])
async def test_a_template_without_a_type_is_named(served: Served, service: str) -> None:
    error = await refused(served, f"{service}/CreateTask", CREATES[service](""))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "template.type" in (error.details() or "")


@pytest.mark.parametrize("key", ["", "   ", "k" * 256])
async def test_an_idempotency_key_must_have_1_to_255_characters(served: Served, key: str) -> None:
    error = await refused(served, f"{V1}/CreateTask", create_v1(), metadata=[("idempotency-key", key)])
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reasons(served) == [("INVALID_ARGUMENT", "invalid_metadata")]


@pytest.mark.parametrize("keys", [["Gr\u00f6\u00dfe"], ["a\0b"], ["order-1", "a\nb"]])
async def test_an_idempotency_key_that_is_not_printable_ascii_is_refused_and_creates_nothing(
    served: Served, keys: list[str]
) -> None:
    path = f"{V1}/CreateTask"
    headers = [*({**REQUEST, ":path": path}).items(), *(("idempotency-key", key) for key in keys)]
    host, port = served.address.split(":")
    # Google's client refuses to send such a key.
    async with raw_client(Endpoint(served.server, host, int(port))) as client:
        client.open(1, headers)
        client.data(1, message(create_v1()), end=True)
        answer = await client.answer(1)
    assert (answer.status, "printable" in answer.message) == (Status.INVALID_ARGUMENT, True)
    assert not served.acme.created


# --- the resource meta


@pytest.mark.parametrize("method", ["GetTask", "DeleteTask"])
@pytest.mark.parametrize(
    "meta", [b"", b"\x80\x04pickle", b"{", b"[]", b'{"number":"seven"}', b'{"name":"of another connector"}']
)
async def test_a_meta_that_is_not_this_connectors_is_an_invalid_argument(
    served: Served, method: str, meta: bytes
) -> None:
    error = await refused(served, f"{V1}/{method}", get_v1(meta))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "meta" in (error.details() or "")
    assert served.events[0].status == "INVALID_ARGUMENT"


async def test_a_meta_of_another_connector_is_an_invalid_argument(served: Served) -> None:
    meta = meta_of(await served.call(f"{V1}/CreateTask", create_v1("bare")))
    error = await refused(served, f"{V1}/GetTask", get_v1(meta, "acme"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_meta_that_is_missing_is_named(served: Served) -> None:
    error = await refused(served, f"{V1}/GetTask", get_v1(b""))
    assert (error.details() or "").startswith("resource_meta is missing")


# --- the message as a whole


@pytest.mark.parametrize("service", [V1, V2])
async def test_a_message_over_the_limit_is_resource_exhausted(anyio_backend: str, service: str) -> None:
    async with serving(limits=Limits(max_message_bytes=1_000)) as served:
        error = await refused(served, f"{service}/CreateTask", CREATES[service]("x" * 2_000))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "1000" in (error.details() or "")
        assert reasons(served) == [("RESOURCE_EXHAUSTED", "message_too_large")]


async def test_a_message_of_the_default_limit_is_taken(served: Served) -> None:
    filler = "x" * (4 * 1024 * 1024 - 100)
    assert meta_of(await served.call(f"{V1}/CreateTask", create_v1(config={"filler": filler})))


async def test_a_message_compressed_with_gzip_is_taken(served: Served) -> None:
    data = create_v1(config={"a": "b" * 10_000})
    await served.call(f"{V1}/CreateTask", data, compression=grpc.Compression.Gzip)
    assert served.acme.created[0].task.config == {"a": "b" * 10_000}
    assert len(gzip.compress(data)) < 200


async def test_a_compression_that_is_not_known_is_unimplemented(served: Served) -> None:
    error = await refused(served, f"{V1}/CreateTask", create_v1(), compression=grpc.Compression.Deflate)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert reasons(served) == [("UNIMPLEMENTED", "unsupported_encoding")]


# --- the wrong call


@pytest.mark.parametrize("path", [f"{V1}/Nonsense", "/flyteidl.service.Nonsense/GetTask", "/x", "/"])
async def test_an_unknown_method_is_unimplemented(served: Served, path: str) -> None:
    error = await refused(served, path, b"")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert reasons(served) == [("UNIMPLEMENTED", "unknown_method")]


async def test_a_sync_call_for_an_async_connector_is_unimplemented(served: Served) -> None:
    error = await refused_stream(served, [sync_header("acme"), sync_inputs()])
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "CreateTask" in (error.details() or "")
    assert served.events[0].status == "UNIMPLEMENTED"


@pytest.mark.parametrize("method", ["CreateTask", "GetTask"])
async def test_an_async_call_for_a_sync_connector_is_unimplemented_over_flyte_1(served: Served, method: str) -> None:
    data = create_v1("echo") if method == "CreateTask" else get_v1(b"{}", "echo")
    error = await refused(served, f"{V1}/{method}", data)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "ExecuteTaskSync" in (error.details() or "")


async def test_logs_of_a_sync_connector_are_unimplemented(served: Served) -> None:
    category = connector_pb2.TaskCategory(name="echo")
    data = connector_pb2.GetTaskMetricsRequest(resource_meta=b"{}", task_category=category).SerializeToString()
    error = await refused(served, f"{V2}/GetTaskMetrics", data)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


# --- a stream of the sync call


async def test_a_stream_that_ends_before_its_header_is_an_invalid_argument(served: Served) -> None:
    error = await refused_stream(served, [])
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "header" in (error.details() or "")
    assert reasons(served) == [("INVALID_ARGUMENT", "truncated")]


async def test_a_stream_that_ends_before_the_inputs_that_the_task_declares_is_an_invalid_argument(
    served: Served,
) -> None:
    header = agent_pb2.ExecuteTaskSyncRequest.FromString(sync_header())
    header.header.template.interface.inputs.variables["o0"].type.simple = 3
    error = await refused_stream(served, [header.SerializeToString()])
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "inputs" in (error.details() or "")
    assert reasons(served) == [("INVALID_ARGUMENT", "truncated")]
    assert not served.echo.calls


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([sync_inputs(), sync_inputs()], grpc.StatusCode.INVALID_ARGUMENT),
        ([b"", sync_inputs()], grpc.StatusCode.INVALID_ARGUMENT),
        ([field(1, b""), sync_inputs()], grpc.StatusCode.INVALID_ARGUMENT),
        ([sync_header(""), sync_inputs()], grpc.StatusCode.INVALID_ARGUMENT),
        ([sync_header(), sync_header()], grpc.StatusCode.INVALID_ARGUMENT),
        ([b"\xff\xff", sync_inputs()], grpc.StatusCode.INTERNAL),
        ([sync_header(), b"\xff\xff"], grpc.StatusCode.INTERNAL),
        ([sync_header("nonsense"), sync_inputs()], grpc.StatusCode.NOT_FOUND),
    ],
    ids=["inputs-first", "empty", "no-template", "no-type", "two-headers", "garbage", "garbage-inputs", "unknown"],
)
async def test_a_sync_stream_that_is_not_header_and_inputs_is_refused(
    served: Served, parts: list[bytes], code: grpc.StatusCode
) -> None:
    error = await refused_stream(served, parts)
    assert error.code() is code
    assert not served.echo.calls


# --- a connector's own bug


async def test_a_connectors_bug_is_internal_with_an_error_id_and_no_traceback(served: Served) -> None:
    def broken(_: Context) -> Resource:
        raise KeyError("password=hunter2hunter2")

    served.echo.answer = broken
    error = await refused_stream(served, [sync_header(), sync_inputs()])
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "error id" in (error.details() or "")
    assert "hunter2" not in (error.details() or "")
    assert served.events[0].error_id
