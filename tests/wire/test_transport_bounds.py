"""Requests that come slowly, or never whole: how long they may take, and how much of them is held meanwhile."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import grpc
import grpc.aio
import pytest

from connectors._wire.status import Status
from connectors._wire.transport import Call, Limits, Reason, Route, unary
from tests.wire.transport_peers import BOUND_S, RawClient, Served, message, raw_client, serving, stream_stream, until

pytestmark = pytest.mark.anyio

UNARY = "/test.Echo/Unary"
PAIR, HELD, WATCH, TALK = "/test.Echo/Pair", "/test.Echo/Held", "/test.Echo/Watch", "/test.Echo/Talk"
LARGEST = 1000
PART = message(b"x" * LARGEST)[:900]
REST = message(b"x" * LARGEST)[900:]


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class Handlers:
    def __init__(self) -> None:
        self.started: list[str] = []
        self.go = asyncio.Event()

    async def echo(self, call: Call, request: bytes) -> bytes:
        self.started.append(call.method)
        return request

    async def pair(self, call: Call) -> None:
        """Takes two messages before it does anything with them."""
        messages = await call.receive(), await call.receive()
        self.started.append(call.method)
        await call.send(b"%d" % sum(len(each or b"") for each in messages))

    async def hold(self, call: Call) -> None:
        """Takes one message, works on it for long, and then takes another."""
        await call.receive()
        self.started.append(call.method)
        await self.go.wait()
        await call.receive()

    async def watch(self, call: Call) -> None:
        await call.receive()
        self.started.append(call.method)

    async def talk(self, call: Call) -> None:
        while (question := await call.receive()) is not None:
            await call.send(question)


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


def server(handlers: Handlers, limits: Limits) -> AbstractAsyncContextManager[Served]:
    routes = {
        UNARY: unary(handlers.echo),
        PAIR: Route(handlers.pair, client_streaming=True, server_streaming=True),
        HELD: Route(handlers.hold, client_streaming=True, server_streaming=True),
        WATCH: Route(handlers.watch, server_streaming=True, endless=True),
        TALK: Route(handlers.talk, client_streaming=True, server_streaming=True, endless=True),
    }
    return serving(routes, replace(limits, max_message_bytes=LARGEST))


IMPATIENT = Limits(receive_timeout=0.1)


async def outlast_the_bound(client: RawClient) -> None:
    """Returns when the time for calls that were opened before is over: a call opened now has run out of it."""
    answer = await client.answer(client.request(message(b"x"), end=False))
    assert (answer.status, answer.message) == (
        Status.DEADLINE_EXCEEDED,
        "the request did not arrive whole within 0.1 s",
    )


@pytest.mark.parametrize("path", [UNARY, PAIR, HELD, WATCH])
async def test_a_call_that_sends_no_message_ends_when_the_time_for_its_request_is_over(
    handlers: Handlers, path: str
) -> None:
    async with server(handlers, IMPATIENT) as served, raw_client(served) as client:
        answer = await client.answer(client.request(path=path, end=False))
        assert answer.status is Status.DEADLINE_EXCEEDED
        assert served.rejected == [(path, Status.DEADLINE_EXCEEDED, Reason.SLOW_REQUEST)]
        assert (handlers.started, served.in_flight) == ([], 0)


@pytest.mark.parametrize("path", [UNARY, PAIR, WATCH])
async def test_a_message_does_not_buy_the_rest_of_its_request_more_time(handlers: Handlers, path: str) -> None:
    async with server(handlers, IMPATIENT) as served, raw_client(served) as client:
        answer = await client.answer(client.request(message(b"x"), path=path, end=False))
        assert answer.status is Status.DEADLINE_EXCEEDED
        assert handlers.started == []


async def test_a_far_deadline_does_not_buy_a_request_more_time(handlers: Handlers) -> None:
    async with server(handlers, IMPATIENT) as served, raw_client(served) as client:
        answer = await client.answer(client.request(PART, {"grpc-timeout": "1H"}, end=False))
        assert answer.status is Status.DEADLINE_EXCEEDED
        assert served.rejected == [(UNARY, Status.DEADLINE_EXCEEDED, Reason.SLOW_REQUEST)]


async def test_a_client_that_opens_a_stream_and_says_nothing_learns_why_it_ended(handlers: Handlers) -> None:
    async with server(handlers, IMPATIENT) as served, grpc.aio.insecure_channel(served.target) as channel:
        call = stream_stream(channel, PAIR)()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await asyncio.wait_for(call.read(), BOUND_S)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_handler_that_has_its_request_may_take_longer_though_the_caller_never_half_closed(
    handlers: Handlers,
) -> None:
    async with server(handlers, IMPATIENT) as served, raw_client(served) as client:
        held = client.request(message(b"x"), path=HELD, end=False)
        client.data(held, message(b"y"))
        await outlast_the_bound(client)
        handlers.go.set()
        assert (await client.answer(held)).status is Status.OK


@pytest.mark.parametrize("said", [b"", message(b"x"), message(b"x") + PART], ids=["nothing", "a message", "a part"])
async def test_a_conversation_without_an_end_that_falls_silent_ends(handlers: Handlers, said: bytes) -> None:
    async with server(handlers, IMPATIENT) as served, raw_client(served) as client:
        answer = await client.answer(client.request(said, path=TALK, end=False))
        assert (answer.status, answer.message) == (
            Status.DEADLINE_EXCEEDED,
            "the next message did not arrive whole within 0.1 s",
        )
        assert served.rejected == [(TALK, Status.DEADLINE_EXCEEDED, Reason.SLOW_REQUEST)]
        await until(lambda: served.in_flight == 0)


async def test_the_newest_call_is_refused_when_its_connection_holds_too_much_and_the_others_are_served(
    handlers: Handlers,
) -> None:
    async with server(handlers, Limits(max_buffered_bytes_per_connection=4000)) as served, raw_client(served) as client:
        first = [client.request(PART, end=False) for _ in range(4)]
        newest = await client.answer(client.request(PART, end=False))
        assert (newest.status, newest.message) == (
            Status.RESOURCE_EXHAUSTED,
            "the connection holds over 4000 bytes of unfinished requests and unread answers",
        )
        for stream_id in first:
            client.data(stream_id, REST, end=True)
            assert (await client.answer(stream_id)).status is Status.OK
        assert served.rejected == [(UNARY, Status.RESOURCE_EXHAUSTED, Reason.BUFFERS_FULL)]


async def test_an_older_call_that_grows_costs_the_newest_its_place(handlers: Handlers) -> None:
    async with server(handlers, Limits(max_buffered_bytes_per_connection=2200)) as served, raw_client(served) as client:
        older = client.request(PART[:500], end=False)
        middle = client.request(PART, end=False)
        newest = client.request(PART[:700], end=False)
        client.data(older, PART[500:])
        assert (await client.answer(newest)).status is Status.RESOURCE_EXHAUSTED
        for stream_id in (older, middle):
            client.data(stream_id, REST, end=True)
            assert (await client.answer(stream_id)).status is Status.OK


async def test_room_is_given_back_however_a_call_ends(handlers: Handlers) -> None:
    limits = Limits(max_buffered_bytes=3000, max_buffered_bytes_per_connection=2500)
    async with server(handlers, limits) as served, raw_client(served) as client:
        for _ in range(10):
            client.reset(client.request(PART, end=False))
            await client.answer(client.request(message(b"x" * LARGEST)))
            await client.answer(client.request(PART))  # cut in the middle
            await client.answer(client.request(PART, {"grpc-timeout": "1m"}, end=False))
            await client.answer(client.request(message(b"x" * 900) * 2, path=PAIR))
            await client.answer(client.request(message(b"x" * 900) + b"\7" * 5, path=PAIR))
        async with raw_client(served) as leaver:
            leaver.request(PART, end=False)
            leaver.request(PART, end=False)
            await leaver.round_trip()
        reasons = {reason for _, _, reason in served.rejected}
        assert reasons == {Reason.TRUNCATED, Reason.DEADLINE, Reason.BAD_FRAME}
        both = [client.request(PART, end=False) for _ in range(2)]
        for stream_id in both:
            client.data(stream_id, REST, end=True)
            assert (await client.answer(stream_id)).status is Status.OK


async def test_when_the_server_is_full_the_connection_that_holds_most_makes_room(handlers: Handlers) -> None:
    async with (
        server(handlers, Limits(max_buffered_bytes=4000)) as served,
        raw_client(served) as greedy,
        raw_client(served) as modest,
    ):
        greedy_calls = [greedy.request(PART, end=False) for _ in range(4)]
        await greedy.round_trip()
        modest_call = modest.request(PART, end=False)
        refused = await greedy.answer(greedy_calls.pop())
        assert (refused.status, refused.message) == (
            Status.RESOURCE_EXHAUSTED,
            "the server holds over 4000 bytes of unfinished requests and unread answers",
        )
        modest.data(modest_call, REST, end=True)
        assert (await modest.answer(modest_call)).status is Status.OK
        for stream_id in greedy_calls:
            greedy.data(stream_id, REST, end=True)
            assert (await greedy.answer(stream_id)).status is Status.OK


async def test_messages_count_by_what_they_are_decompressed_to(handlers: Handlers) -> None:
    async with server(handlers, Limits(max_buffered_bytes_per_connection=9000)) as served, raw_client(served) as client:
        small = message(gzip.compress(bytes(LARGEST)), 1)
        answer = await client.answer(client.request(small * 12, {"grpc-encoding": "gzip"}, path=HELD, end=False))
        assert len(small) * 12 < 1000
        assert answer.status is Status.RESOURCE_EXHAUSTED


async def test_many_tiny_messages_count_for_more_than_their_bytes(handlers: Handlers) -> None:
    async with server(handlers, Limits(max_buffered_bytes_per_connection=9000)) as served, raw_client(served) as client:
        answer = await client.answer(client.request(message(b"") * 200, path=HELD, end=False))
        assert answer.status is Status.RESOURCE_EXHAUSTED


async def test_a_message_that_a_handler_keeps_while_it_waits_for_the_next_one_still_counts(handlers: Handlers) -> None:
    async with server(handlers, Limits(max_buffered_bytes_per_connection=4000)) as served, raw_client(served) as client:
        whole = message(b"x" * LARGEST)
        first = [client.request(whole, path=PAIR, end=False) for _ in range(3)]
        await client.round_trip()  # the handlers have taken what was sent, and wait again
        newest = await client.answer(client.request(whole, path=PAIR, end=False))
        assert newest.status is Status.RESOURCE_EXHAUSTED
        assert served.in_flight == 3
        for stream_id in first:
            client.data(stream_id, message(b""), end=True)
            assert (await client.answer(stream_id)).status is Status.OK


async def test_a_handler_that_waits_again_when_there_is_no_room_for_what_it_keeps_is_ended(handlers: Handlers) -> None:
    async with server(handlers, Limits(max_buffered_bytes_per_connection=2500)) as served, raw_client(served) as client:
        held = client.request(message(b"x" * LARGEST), path=HELD, end=False)
        await until(lambda: bool(handlers.started))
        others = [client.request(PART, end=False) for _ in range(2)]
        await client.round_trip()
        handlers.go.set()
        assert (await client.answer(held)).status is Status.RESOURCE_EXHAUSTED
        await until(lambda: served.in_flight == 2)
        for stream_id in others:
            client.data(stream_id, REST, end=True)
            assert (await client.answer(stream_id)).status is Status.OK


async def test_a_request_of_two_messages_of_the_largest_size_fits_whatever_the_limits(handlers: Handlers) -> None:
    limits = Limits(max_buffered_bytes=1, max_buffered_bytes_per_connection=1)
    async with server(handlers, limits) as served, raw_client(served) as client:
        answer = await client.answer(client.request(message(b"x" * LARGEST) * 2, path=PAIR))
        assert (answer.status, answer.data) == (Status.OK, message(b"2000"))


@pytest.mark.parametrize("path", [UNARY, PAIR])
async def test_a_drain_does_not_wait_long_for_requests_that_do_not_come(handlers: Handlers, path: str) -> None:
    async with server(handlers, Limits()) as served, raw_client(served) as client:
        silent = client.request(message(b"x"), path=path, end=False)
        await client.round_trip()
        draining = asyncio.ensure_future(served.server.drain(60))
        answer = await client.answer(silent)
        assert (answer.status, answer.message) == (Status.UNAVAILABLE, "the server is shutting down")
        assert await asyncio.wait_for(draining, BOUND_S) == 0
        assert served.rejected == [(path, Status.UNAVAILABLE, Reason.SHUTDOWN)]
        assert handlers.started == []


async def test_a_drain_goes_on_waiting_for_a_handler_at_work_and_leaves_endless_calls_alone(handlers: Handlers) -> None:
    async with server(handlers, Limits()) as served, raw_client(served) as client:
        held = client.request(message(b"x"), path=HELD, end=False)
        talk = client.request(path=TALK, end=False)
        silent = client.request(end=False)
        await client.round_trip()
        draining = asyncio.ensure_future(served.server.drain(60))
        assert (await client.answer(silent)).status is Status.UNAVAILABLE
        assert not draining.done()
        client.data(talk, message(b"still there?"), end=True)
        assert (await client.answer(talk)).data == message(b"still there?")
        client.data(held, message(b"y"))
        handlers.go.set()
        assert (await client.answer(held)).status is Status.OK
        assert await asyncio.wait_for(draining, BOUND_S) == 0


async def test_a_request_on_its_way_when_a_drain_begins_is_served(handlers: Handlers) -> None:
    async with server(handlers, Limits()) as served, raw_client(served) as client:
        late = client.request(PART, end=False)
        await client.round_trip()
        draining = asyncio.ensure_future(served.server.drain(60))
        await client.read_until_goaway(2)
        client.data(late, REST, end=True)
        assert (await client.answer(late)).status is Status.OK
        assert await asyncio.wait_for(draining, BOUND_S) == 0
