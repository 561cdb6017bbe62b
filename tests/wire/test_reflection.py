"""Server reflection, through gRPC's own client and through buf."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from connectors._wire.routes import SERVICES
from connectors._wire.transport import Limits
from tests.wire.connectors_for_tests import Served, serving
from tests.wire.descriptors import OURS, enums, messages

pytestmark = pytest.mark.anyio

VERSIONS = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
Request = reflection_pb2.ServerReflectionRequest
BUF = Path(sys.executable).with_name("buf")


async def ask(served: Served, *requests: Any, version: str = VERSIONS[1]) -> list[Any]:
    """The answers; the messages of both versions are the same on the wire."""
    stub: Any = served.channel.stream_stream(
        f"/{version}/ServerReflectionInfo",
        request_serializer=Request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return [each async for each in stub(iter(requests), timeout=10)]


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_service_is_listed(served: Served, version: str) -> None:
    (answer,) = await ask(served, Request(list_services="*"), version=version)
    assert [each.name for each in answer.list_services_response.service] == sorted((*SERVICES, *VERSIONS))


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_symbol_is_found_in_its_file(served: Served, version: str) -> None:
    symbols = {
        name: file.name
        for file in OURS.file
        for name, descriptor in [*messages(file), *enums(file)]
        if not (isinstance(descriptor, descriptor_pb2.DescriptorProto) and descriptor.options.map_entry)
    }
    for file in OURS.file:
        for service in file.service:
            name = f"{file.package}.{service.name}"
            symbols |= {name: file.name} | {f"{name}.{method.name}": file.name for method in service.method}
    answers = await ask(served, *(Request(file_containing_symbol=name) for name in symbols), version=version)
    found = [
        descriptor_pb2.FileDescriptorProto.FromString(each.file_descriptor_response.file_descriptor_proto[0]).name
        for each in answers
    ]
    assert found == list(symbols.values())
    assert len(symbols) > 250


async def test_a_file_comes_with_everything_that_it_imports(served: Served) -> None:
    answers = await ask(served, *(Request(file_by_filename=file.name) for file in OURS.file))
    for file, answer in zip(OURS.file, answers, strict=True):
        pool = descriptor_pool.DescriptorPool()
        received = [
            descriptor_pb2.FileDescriptorProto.FromString(each)
            for each in answer.file_descriptor_response.file_descriptor_proto
        ]
        for each in reversed(received):
            _add(pool, each, {other.name: other for other in received})
        assert received[0] == file
        assert pool.FindFileByName(file.name).package == file.package
        assert len({each.name for each in received}) == len(received)


def _add(pool: Any, file: Any, known: dict[str, Any]) -> None:
    for name in file.dependency:
        _add(pool, known[name], known)
    pool.Add(file)


async def test_what_is_not_there_is_an_answer_and_the_stream_goes_on(served: Served) -> None:
    extension = reflection_pb2.ExtensionRequest(containing_type="flyteidl.admin.Resource", extension_number=1)
    answers = await ask(
        served,
        Request(host="h", file_by_filename="nonsense.proto"),
        Request(file_containing_symbol="acme.Nonsense"),
        Request(file_containing_extension=extension),
        Request(all_extension_numbers_of_type="acme.Nonsense"),
        Request(),
        Request(all_extension_numbers_of_type="flyteidl.admin.Resource"),
    )
    codes = [each.error_response.error_code for each in answers[:-1]]
    not_found, invalid = grpc.StatusCode.NOT_FOUND.value[0], grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert codes == [not_found, not_found, not_found, not_found, invalid]
    assert (answers[0].valid_host, answers[0].original_request.file_by_filename) == ("h", "nonsense.proto")
    assert answers[-1].all_extension_numbers_response.base_type_name == "flyteidl.admin.Resource"
    assert not answers[-1].all_extension_numbers_response.extension_number


async def test_garbage_on_the_stream_ends_it_with_internal(served: Served) -> None:
    stub: Any = served.channel.stream_stream(f"/{VERSIONS[0]}/ServerReflectionInfo")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        _ = [each async for each in stub(iter([b"\xff\xff\xff"]), timeout=10)]
    assert failure.value.code() is grpc.StatusCode.INTERNAL


async def test_a_stream_on_which_nothing_more_is_asked_ends() -> None:
    async with serving(limits=Limits(receive_timeout=0.1)) as served:
        stream: Any = served.channel.stream_stream(f"/{VERSIONS[0]}/ServerReflectionInfo")(timeout=60)
        await stream.write(Request(list_services="*").SerializeToString())
        assert await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stream.read()
        assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert [reason for _, _, reason in served.rejected] == ["slow_request"]


async def test_grpcs_own_client_finds_the_real_types(served: Served) -> None:
    def look() -> tuple[list[str], str]:
        with grpc.insecure_channel(served.address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            pool = descriptor_pool.DescriptorPool(database)
            service: Any = pool.FindServiceByName("flyteidl2.connector.AsyncConnectorService")
            resource = service.FindMethodByName("GetTask").output_type.fields_by_name["resource"].message_type
            return list(database.get_services()), resource.fields_by_name["outputs"].message_type.full_name

    services, outputs = await asyncio.to_thread(look)
    assert set(SERVICES) < set(services)
    assert outputs == "flyteidl2.task.Outputs"


async def buf(served: Served, *arguments: str, path: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        BUF,
        "curl",
        "--http2-prior-knowledge",
        "--protocol",
        "grpc",
        *arguments,
        f"http://{served.address}{path}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def test_buf_lists_every_method(served: Served) -> None:
    methods = (await buf(served, "--list-methods")).split()
    expected = {
        f"{file.package}.{service.name}/{method.name}"
        for file in OURS.file
        for service in file.service
        for method in service.method
    }
    assert set(methods) == expected


async def test_buf_calls_a_method_that_it_knows_by_reflection_alone(served: Served) -> None:
    request = {"template": {"type": "acme", "custom": {"a": 1}}}
    out = await buf(
        served,
        "--data",
        json.dumps(request),
        path="/flyteidl.service.AsyncAgentService/CreateTask",
    )
    assert "resourceMeta" in json.loads(out)
    assert served.acme.created[0].task.custom == {"a": 1}


async def test_the_official_stub_of_reflection_is_answered(served: Served) -> None:
    official: Any = reflection_pb2_grpc.ServerReflectionStub
    stub = official(served.channel)
    (answer,) = [each async for each in stub.ServerReflectionInfo(iter([Request(list_services="")]), timeout=10)]
    assert answer.WhichOneof("message_response") == "list_services_response"
