"""The client and a server that goes away while it is in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from connectors import Phase, Resource, TaskTemplate
from connectors.client import CallFailed, ConnectorClient
from tests.wire.connectors_for_tests import Served, serving
from tests.wire.transport_peers import BOUND_S, PREFACE, until

pytestmark = pytest.mark.anyio

ECHO = TaskTemplate(type="echo")
ANSWER = Resource(Phase.SUCCEEDED, outputs={"o0": "kept"})


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


async def until_refused(client: ConnectorClient) -> CallFailed:
    """Calls until the client has left its connection: the server draining takes no new one."""
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                await client.list_connectors()
            except CallFailed as failure:
                return failure


async def call_in_flight(server: Served, client: ConnectorClient) -> asyncio.Task[Resource]:
    server.echo.gate.clear()
    call = asyncio.create_task(client.do(ECHO, {"o0": "kept"}))
    await until(lambda: bool(server.echo.calls))
    return call


async def test_a_call_in_flight_is_answered_by_a_server_that_drains(served: Served) -> None:
    async with ConnectorClient(served.address) as client:
        call = await call_in_flight(served, client)
        draining = asyncio.create_task(served.server.drain(BOUND_S))
        failure = await until_refused(client)
        assert (failure.status, call.done(), draining.done()) == ("UNAVAILABLE", False, False)
        served.echo.gate.set()
        assert await call == ANSWER
        assert await draining == 0


async def test_calls_go_on_at_another_address_while_one_server_drains(served: Served) -> None:
    async with serving() as other, ConnectorClient([served.address, other.address]) as client:
        call = await call_in_flight(served, client)
        draining = asyncio.create_task(served.server.drain(BOUND_S))
        await until(lambda: not client._channels[0]._connected)
        for _ in range(4):
            await client.create(TaskTemplate(type="acme"))
        assert (len(served.acme.created), len(other.acme.created)) == (0, 4)
        served.echo.gate.set()
        assert await call == ANSWER
        assert await draining == 0


class Peer:
    """A server that answers every call with the frames given, and says how its connections ended."""

    def __init__(self, answer: Sequence[Frame], greeting: Sequence[Frame]) -> None:
        self._answer, self._greeting = answer, greeting
        self.connections = 0
        self.calls = 0
        self.confirmed = 0
        self.left = 0

    def send(self, *frames: Frame) -> None:
        """To the client that came last."""
        self._writer.write(b"".join(each.serialize() for each in frames))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writer = writer
        try:
            await reader.readexactly(len(PREFACE))
            self.send(SettingsFrame(0), *self._greeting)
            while True:
                frame, length = Frame.parse_frame_header(memoryview(await reader.readexactly(9)))
                frame.parse_body(memoryview(await reader.readexactly(length)))
                if isinstance(frame, HeadersFrame):
                    self.calls += 1
                    for each in self._answer:
                        if isinstance(each, RstStreamFrame):
                            each.stream_id = frame.stream_id
                    self.send(*self._answer)
                elif isinstance(frame, SettingsFrame) and "ACK" in frame.flags:
                    self.confirmed += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left += 1
        finally:
            writer.close()


@asynccontextmanager
async def peer(answer: Sequence[Frame] = (), greeting: Sequence[Frame] = ()) -> AsyncIterator[tuple[Peer, str]]:
    found = Peer(answer, greeting)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    try:
        yield found, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(("code", "tries"), [(ErrorCodes.NO_ERROR, 2), (ErrorCodes.ENHANCE_YOUR_CALM, 1)])
async def test_a_call_that_a_server_that_goes_away_does_not_answer_fails_at_once_and_its_connections_are_left(
    code: ErrorCodes, tries: int
) -> None:
    goaway = GoAwayFrame(0, last_stream_id=0, error_code=code)
    async with peer(answer=[goaway]) as (server, address), ConnectorClient(address, timeout=3600) as client:
        for connections in (tries, 2 * tries):
            with pytest.raises(CallFailed) as failure:
                await asyncio.wait_for(client.list_connectors(), BOUND_S)
            assert failure.value.status == "UNAVAILABLE"
            assert failure.value.taken is (code is not ErrorCodes.NO_ERROR)
            assert server.connections == connections
            await until(lambda: server.left == server.connections)


def refusal() -> RstStreamFrame:
    return RstStreamFrame(1, error_code=ErrorCodes.REFUSED_STREAM)


async def test_a_call_whose_stream_is_refused_twice_was_not_taken() -> None:
    async with peer(answer=[refusal()]) as (server, address), ConnectorClient(address, timeout=None) as client:
        with pytest.raises(CallFailed) as failure:
            await asyncio.wait_for(client.list_connectors(), BOUND_S)
        assert (failure.value.status, failure.value.taken, server.calls) == ("UNAVAILABLE", False, 2)


@pytest.mark.parametrize("frame", [refusal(), GoAwayFrame(0, last_stream_id=0)], ids=["refused", "going away"])
async def test_a_call_that_one_server_does_not_take_is_made_of_the_next(served: Served, frame: Frame) -> None:
    async with peer(answer=[frame]) as (server, address), ConnectorClient([address, served.address]) as client:
        await client.create(TaskTemplate(type="acme"))
        assert (server.calls, len(served.acme.created)) == (1, 1)


async def test_a_call_that_a_server_may_have_begun_is_not_made_again(served: Served) -> None:
    lost = RstStreamFrame(1, error_code=ErrorCodes.INTERNAL_ERROR)
    async with peer(answer=[lost]) as (_, address), ConnectorClient([address, served.address]) as client:
        with pytest.raises(CallFailed) as failure:
            await client.create(TaskTemplate(type="acme"))
        assert (failure.value.status, failure.value.taken) == ("UNAVAILABLE", True)
    assert not served.acme.created


def answered_early(message: bytes = b"") -> Sequence[Frame]:
    """A whole answer at a request's first frame, and the word that no more of it is needed (RFC 9113, section 8.1)."""
    encoder = Encoder()
    headers = encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
    data = b"\0" + len(message).to_bytes(4, "big") + message
    trailers = encoder.encode([("grpc-status", "0")])
    return [
        HeadersFrame(1, headers, flags=["END_HEADERS"]),
        DataFrame(1, data),
        HeadersFrame(1, trailers, flags=["END_HEADERS", "END_STREAM"]),
        RstStreamFrame(1, error_code=ErrorCodes.NO_ERROR),
    ]


async def test_an_answer_stands_though_the_server_needs_no_more_of_the_request() -> None:
    async with peer(answer=answered_early()) as (_, address), ConnectorClient(address) as client:
        assert await client.list_connectors() == ()


async def test_a_second_try_has_a_deadline_too() -> None:
    async with (
        peer(answer=[refusal()]) as (_, first),
        peer() as (_, silent),
        ConnectorClient([first, silent], timeout=0.3) as client,
    ):
        with pytest.raises(CallFailed) as failure:
            await asyncio.wait_for(client.list_connectors(), BOUND_S)
    assert failure.value.status == "DEADLINE_EXCEEDED"


async def test_a_call_that_was_lost_leaves_no_cancellation_behind() -> None:
    lost = RstStreamFrame(1, error_code=ErrorCodes.INTERNAL_ERROR)
    async with peer(answer=[lost]) as (_, address), ConnectorClient(address) as client:
        with pytest.raises(CallFailed):
            await client.list_connectors()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_call_that_waits_for_its_turn_is_not_begun_on_a_connection_that_is_going_away() -> None:
    one_at_a_time = SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 1})
    async with peer(greeting=[one_at_a_time]) as (server, address), ConnectorClient(address, timeout=3600) as client:
        first = asyncio.create_task(client.list_connectors())
        await until(lambda: server.calls == 1 and server.confirmed == 2)
        second = asyncio.create_task(client.list_connectors())
        await until(lambda: client._channels[0]._calls_started == 2)
        server.send(GoAwayFrame(0, last_stream_id=1, error_code=ErrorCodes.NO_ERROR))
        server.send(RstStreamFrame(1, error_code=ErrorCodes.INTERNAL_ERROR))
        await until(lambda: server.calls == 2)
        server.send(RstStreamFrame(1, error_code=ErrorCodes.INTERNAL_ERROR))
        for call in (first, second):
            with pytest.raises(CallFailed) as failure:
                await asyncio.wait_for(call, BOUND_S)
            assert failure.value.status == "UNAVAILABLE"
        await until(lambda: server.left == 1)
        assert (server.connections, server.calls) == (2, 2)


async def test_a_client_that_is_closed_ends_the_calls_on_every_connection_it_has() -> None:
    async with peer() as (server, address):
        async with ConnectorClient(address, timeout=3600) as client:
            first = asyncio.create_task(client.list_connectors())
            await until(lambda: server.calls == 1)
            server.send(GoAwayFrame(0, last_stream_id=1, error_code=ErrorCodes.NO_ERROR))
            await until(lambda: not client._channels[0]._connected)
            second = asyncio.create_task(client.list_connectors())
            await until(lambda: server.calls == 2)
            assert (server.connections, server.left, first.done()) == (2, 0, False)
        for call in (first, second):
            with pytest.raises(CallFailed) as failure:
                await asyncio.wait_for(call, BOUND_S)
            assert failure.value.status == "UNAVAILABLE"
        await until(lambda: server.left == 2)
