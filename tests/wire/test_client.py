"""The client, against the server."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from connectors import (
    Identifier,
    Interface,
    InvalidRequest,
    LiteralType,
    LogPage,
    MetricResult,
    Phase,
    Resource,
    ResourceError,
    TaskCategory,
    TaskExecutionId,
    TaskExecutionMetadata,
    TaskTemplate,
)
from connectors.client import CallFailed, ConnectorClient
from tests.wire.connectors_for_tests import Served, log_line, serving

pytestmark = pytest.mark.anyio

Protocol = Literal["flyte1", "flyte2"]
PROTOCOLS: list[Protocol] = ["flyte1", "flyte2"]
ACME, ECHO = TaskCategory("acme"), TaskCategory("echo")
TASK = TaskTemplate(
    type="acme", custom={"a": 1}, interface=Interface({"n": LiteralType("float"), "who": LiteralType("string")})
)
METADATA = TaskExecutionMetadata(
    TaskExecutionId(Identifier("p", "d", "t", "v"), "p", "d", "ex1", node_id="n0"), labels={"a": "b"}
)


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    found: Protocol = request.param
    return found


async def test_a_job_is_created_polled_and_deleted(served: Served, protocol: Protocol) -> None:
    served.acme.answers = [Resource(Phase.RUNNING), Resource(Phase.SUCCEEDED, "done", outputs={"o0": [1, 2]})]
    async with ConnectorClient(served.address, protocol) as client:
        meta = await client.create(TASK, {"n": 3, "who": "Ada"}, output_prefix="s3://b/1", metadata=METADATA)
        first = await client.get(ACME, meta, output_prefix="s3://b/1")
        last = await client.get(ACME, meta)
        await client.delete(ACME, meta)
    (given,) = served.acme.created
    assert (given.task, given.inputs, given.metadata) == (TASK, {"n": 3.0, "who": "Ada"}, METADATA)
    assert (first.phase, last) == (Phase.RUNNING, Resource(Phase.SUCCEEDED, "done", outputs={"o0": [1, 2]}))
    assert len(served.acme.deleted) == 1
    assert served.events[0].protocol == protocol


async def test_secrets_go_with_flyte_2_alone(served: Served, protocol: Protocol) -> None:
    secrets = {"acme_token": "fake-token-0123456789"}
    async with ConnectorClient(served.address, protocol) as client:
        meta = await client.create(TASK, secrets=secrets)
        await client.get(ACME, meta, secrets=secrets)
        await client.delete(ACME, meta, secrets=secrets)
    expected = secrets["acme_token"] if protocol == "flyte2" else None
    assert [served.acme.created[0].token, *served.acme.tokens] == [expected] * 3


async def test_an_idempotency_key_names_the_request(served: Served, protocol: Protocol) -> None:
    async with ConnectorClient(served.address, protocol) as client:
        metas = {await client.create(TASK, idempotency_key="order-1") for _ in range(3)}
    assert len(metas) == len(served.acme.created) == 1


async def test_logs_and_metrics_are_read(served: Served, protocol: Protocol) -> None:
    served.acme.page = LogPage((log_line("one"), log_line("two")), "next")
    async with ConnectorClient(served.address, protocol) as client:
        meta = await client.create(TASK)
        page = await client.get_logs(ACME, meta, lines=2, token="t")
        metrics = await client.get_metrics(
            ACME, meta, ["cpu"], start=datetime(2024, 1, 1, tzinfo=UTC), step=timedelta(seconds=5)
        )
    assert page == served.acme.page
    assert metrics == (MetricResult("cpu", {"values": [1, 2.5]}),)
    assert served.acme.asked[1]["step"] == timedelta(seconds=5)


async def test_a_sync_call_is_carried_out_over_flyte_1(served: Served) -> None:
    served.echo.answer = lambda ctx: Resource(Phase.FAILED, error=ResourceError("Quota"), outputs=dict(ctx.inputs))
    async with ConnectorClient(served.address) as client:
        resource = await client.do(TaskTemplate(type="echo"), {"o0": "hello"}, metadata=METADATA)
    assert resource == Resource(Phase.FAILED, error=ResourceError("Quota"), outputs={"o0": "hello"})


async def test_flyte_2_has_no_sync_call(served: Served) -> None:
    async with ConnectorClient(served.address, "flyte2") as client:
        with pytest.raises(NotImplementedError, match="create"):
            await client.do(TaskTemplate(type="echo"))


async def test_connectors_are_listed(served: Served, protocol: Protocol) -> None:
    async with ConnectorClient(served.address, protocol) as client:
        listed = await client.list_connectors()
    assert [each.categories for each in listed] == [
        (ACME,),
        (TaskCategory("acme", 1),),
        (TaskCategory("bare"),),
        (ECHO,),
    ]
    assert [each.is_sync for each in listed] == [False, False, False, protocol == "flyte1"]


async def test_a_refusal_carries_the_servers_status_and_sentence(served: Served, protocol: Protocol) -> None:
    async with ConnectorClient(served.address, protocol) as client:
        with pytest.raises(CallFailed, match="nonsense") as failure:
            await client.create(TaskTemplate(type="nonsense"))
        assert failure.value.status == "NOT_FOUND"
        assert await client.create(TASK)


async def test_a_server_that_does_not_answer_in_time_is_deadline_exceeded(served: Served) -> None:
    served.echo.gate.clear()
    async with ConnectorClient(served.address, timeout=0.2) as client:
        with pytest.raises(CallFailed) as failure:
            await client.do(TaskTemplate(type="echo"))
    assert failure.value.status == "DEADLINE_EXCEEDED"


async def test_an_input_that_does_not_fit_is_refused_before_it_is_sent(served: Served, protocol: Protocol) -> None:
    async with ConnectorClient(served.address, protocol) as client:
        with pytest.raises(InvalidRequest, match="input n"):
            await client.create(TASK, {"n": "three"})
        with pytest.raises(ValueError, match="input x"):
            await client.create(TASK, {"x": object()})
    assert not served.events


async def test_servers_are_taken_in_turn_and_one_that_is_down_is_passed_over(anyio_backend: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = f"127.0.0.1:{closed.getsockname()[1]}"
        async with (
            serving() as first,
            serving() as second,
            ConnectorClient([first.address, down, second.address]) as client,
        ):
            for _ in range(4):
                await client.create(TASK)
            assert (len(first.acme.created), len(second.acme.created)) == (2, 2)


async def test_no_server_at_all_is_unavailable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with ConnectorClient(f"127.0.0.1:{closed.getsockname()[1]}") as client:
            with pytest.raises(CallFailed) as failure:
                await client.list_connectors()
    assert failure.value.status == "UNAVAILABLE"


async def test_a_server_that_vanishes_in_the_middle_of_a_call_is_unavailable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)  # HTTP/2's preface
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    try:
        async with ConnectorClient(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=5) as client:
            with pytest.raises(CallFailed) as failure:
                await client.list_connectors()
    finally:
        server.close()
    assert failure.value.status == "UNAVAILABLE"


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":80", "localhost:http", ""])
def test_an_address_without_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        ConnectorClient(address)


def test_a_client_needs_an_address() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ConnectorClient([])


def test_a_protocol_that_does_not_exist_is_refused_by_naming_the_two() -> None:
    with pytest.raises(ValueError, match=r"^'flyte3' is not a protocol: there are 'flyte1' and 'flyte2'$"):
        ConnectorClient("localhost:8000", "flyte3")  # type: ignore[arg-type]


async def test_an_idempotency_key_that_metadata_cannot_hold_is_a_value_error(served: Served) -> None:
    async with ConnectorClient(served.address) as client:
        with pytest.raises(ValueError, match="Invalid metadata value"):
            await client.create(TASK, idempotency_key="Größe")
    assert not served.acme.created
