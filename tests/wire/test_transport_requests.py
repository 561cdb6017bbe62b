"""Requests that no proper gRPC client sends, byte by byte."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, PriorityFrame

from connectors._wire.status import Status
from connectors._wire.transport import Call, Limits, Reason, Route, unary
from tests.wire.transport_peers import BOUND_S, RawClient, Served, message, raw_client, serving

pytestmark = pytest.mark.anyio

UNARY = "/test.Echo/Unary"
STREAM = "/test.Echo/Stream"
SLOW = "/test.Echo/Slow"
HELD = "/test.Echo/Held"
LIMIT = 1000


class Handlers:
    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.held = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.go = asyncio.Event()

    async def echo(self, call: Call, request: bytes) -> bytes:
        self.requests.append(request)
        return request

    async def stream(self, call: Call) -> None:
        while (found := await call.receive()) is not None:
            self.requests.append(found)
            await call.send(found)

    async def slow(self, call: Call) -> None:
        await self.go.wait()
        while (found := await call.receive()) is not None:
            self.requests.append(found)

    async def hold(self, call: Call, request: bytes) -> bytes:
        self.held.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def served(handlers: Handlers) -> AsyncIterator[Served]:
    routes = {
        UNARY: unary(handlers.echo),
        STREAM: Route(handlers.stream, client_streaming=True, server_streaming=True),
        SLOW: Route(handlers.slow, client_streaming=True, server_streaming=True),
        HELD: unary(handlers.hold),
    }
    async with serving(routes, Limits(max_message_bytes=LIMIT, max_header_list_bytes=2000)) as running:
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[RawClient]:
    async with raw_client(served) as connected:
        yield connected


async def still_serves(client: RawClient) -> None:
    answer = await client.answer(client.request(message(b"still there?")))
    assert (answer.status, answer.data) == (Status.OK, message(b"still there?"))


async def test_an_answer_says_what_grpc_asks_of_it(client: RawClient) -> None:
    answer = await client.answer(client.request(message(b"hi")))
    assert answer.headers == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-accept-encoding": "identity,gzip",
    }
    assert (answer.data, answer.trailers, answer.reset) == (message(b"hi"), {"grpc-status": "0"}, None)


@pytest.mark.parametrize(
    "headers",
    [
        {"te": None},
        {"content-type": "application/grpc+proto"},
        {"content-type": "application/grpc; charset=utf-8"},
        {"content-type": "APPLICATION/GRPC"},
        {"grpc-encoding": "identity"},
        {":authority": None},
        {"connection": "keep-alive"},
        {"UPPER": "case"},
        {"x-metadata": "caf\u00e9"},
        {"broken-bin": "***"},
    ],
    ids=lambda headers: next(iter(headers)) + "=" + str(next(iter(headers.values()))),
)
async def test_what_is_odd_but_harmless_is_served(client: RawClient, headers: dict[str, str | None]) -> None:
    answer = await client.answer(client.request(message(b"hi"), headers))
    assert (answer.status, answer.data) == (Status.OK, message(b"hi"))


@pytest.mark.parametrize(
    ("headers", "http_status", "reason"),
    [
        ({":method": "GET"}, "405", Reason.HTTP_METHOD),
        ({":method": None}, "405", Reason.HTTP_METHOD),
        ({"content-type": "application/json"}, "415", Reason.CONTENT_TYPE),
        ({"content-type": "application/grpc-web"}, "415", Reason.CONTENT_TYPE),
        ({"content-type": "application/grpc+json"}, "415", Reason.CONTENT_TYPE),
        ({"content-type": None}, "415", Reason.CONTENT_TYPE),
        ({":path": None}, "400", Reason.BAD_REQUEST),
        ({":path": "no-slash"}, "400", Reason.BAD_REQUEST),
    ],
)
async def test_what_is_no_grpc_request_gets_an_http_status(
    client: RawClient, served: Served, headers: dict[str, str | None], http_status: str, reason: Reason
) -> None:
    answer = await client.answer(client.request(message(b"hi"), headers))
    assert answer.http_status == http_status
    assert answer.status in {Status.UNKNOWN, Status.INTERNAL}
    assert [found for _, _, found in served.rejected] == [reason]
    await still_serves(client)


@pytest.mark.parametrize(
    ("data", "headers", "status", "reason"),
    [
        pytest.param(b"", {}, Status.UNIMPLEMENTED, Reason.CARDINALITY, id="no message"),
        pytest.param(message(b"a") * 2, {}, Status.UNIMPLEMENTED, Reason.CARDINALITY, id="two messages"),
        pytest.param(message(b"abc")[:6], {}, Status.INTERNAL, Reason.TRUNCATED, id="cut in the message"),
        pytest.param(message(b"abc")[:3], {}, Status.INTERNAL, Reason.TRUNCATED, id="cut in the prefix"),
        pytest.param(message(b"a") + b"\0", {}, Status.INTERNAL, Reason.TRUNCATED, id="a byte too many"),
        pytest.param(message(b"a", 1), {}, Status.INTERNAL, Reason.BAD_FRAME, id="compressed, no encoding"),
        pytest.param(
            message(b"a", 1), {"grpc-encoding": "identity"}, Status.INTERNAL, Reason.BAD_FRAME, id="compressed identity"
        ),
        pytest.param(message(b"a", 7), {}, Status.INTERNAL, Reason.BAD_FRAME, id="flag neither 0 nor 1"),
        pytest.param(
            message(b"no gzip", 1), {"grpc-encoding": "gzip"}, Status.INTERNAL, Reason.CORRUPT_MESSAGE, id="no gzip"
        ),
        pytest.param(
            message(gzip.compress(b"abc")[:-4], 1),
            {"grpc-encoding": "gzip"},
            Status.INTERNAL,
            Reason.CORRUPT_MESSAGE,
            id="cut gzip",
        ),
        pytest.param(
            message(gzip.compress(b"a") * 2, 1),
            {"grpc-encoding": "gzip"},
            Status.INTERNAL,
            Reason.CORRUPT_MESSAGE,
            id="bytes after the gzip",
        ),
        pytest.param(
            message(gzip.compress(b"a" * (LIMIT + 1)), 1),
            {"grpc-encoding": "gzip"},
            Status.RESOURCE_EXHAUSTED,
            Reason.MESSAGE_TOO_LARGE,
            id="small, but over the limit once decompressed",
        ),
        pytest.param(
            message(b"a"), {"grpc-encoding": "snappy"}, Status.UNIMPLEMENTED, Reason.UNSUPPORTED_ENCODING, id="snappy"
        ),
        pytest.param(message(b"a"), {"grpc-timeout": "soon"}, Status.INTERNAL, Reason.BAD_TIMEOUT, id="timeout"),
        pytest.param(message(b"a"), {"grpc-timeout": "0n"}, Status.DEADLINE_EXCEEDED, Reason.DEADLINE, id="no time"),
        pytest.param(
            message(b"a"), {"x-big": "x" * 2000}, Status.RESOURCE_EXHAUSTED, Reason.HEADERS_TOO_LARGE, id="big headers"
        ),
        pytest.param(
            message(b"a"), {":path": "/test.Echo/None"}, Status.UNIMPLEMENTED, Reason.UNKNOWN_METHOD, id="no method"
        ),
    ],
)
async def test_a_bad_request_gets_its_status_and_harms_nobody(
    *,
    client: RawClient,
    served: Served,
    handlers: Handlers,
    data: bytes,
    headers: dict[str, str | None],
    status: Status,
    reason: Reason,
) -> None:
    other = client.request(message(b"other"), path=HELD)
    answer = await client.answer(client.request(data, headers))
    assert (answer.http_status, answer.status) == ("200", status)
    assert answer.headers["grpc-accept-encoding"] == "identity,gzip"
    assert answer.message
    assert handlers.requests == []
    assert [(found_status, found) for _, found_status, found in served.rejected] == [(status, reason)]
    handlers.go.set()
    assert (await client.answer(other)).data == message(b"other")
    await still_serves(client)


async def test_a_gzip_request_of_the_whole_limit_is_served(client: RawClient) -> None:
    payload = b"a" * LIMIT
    answer = await client.answer(client.request(message(gzip.compress(payload), 1), {"grpc-encoding": "gzip"}))
    assert answer.data == message(payload)


async def test_an_oversized_message_is_refused_when_its_prefix_is_seen(client: RawClient) -> None:
    stream_id = client.request(message(b"x" * (LIMIT + 1))[:5], end=False)
    answer = await client.answer(stream_id)
    assert (answer.status, answer.message) == (
        Status.RESOURCE_EXHAUSTED,
        "the message is 1001 bytes, the limit is 1000",
    )
    client.data(stream_id, b"x" * (LIMIT + 1), end=True)
    await still_serves(client)


async def test_a_client_that_goes_on_sending_after_a_refusal_is_told_to_stop(client: RawClient) -> None:
    stream_id = client.request(b"", end=False, path="/test.Echo/None")
    await client.answer(stream_id)
    await client.round_trip()
    assert client.answers[stream_id].reset == 0


async def test_the_window_survives_data_that_nobody_reads(client: RawClient) -> None:
    # Ten times the connection's window goes to calls that were refused. Without credit for it the next call would hang.
    chunk = b"x" * 16_384
    for _ in range(10):
        stream_id = client.request(message(b"x" * LIMIT) + b"rest", end=False)
        for _ in range(1024):
            client.write(DataFrame(stream_id, chunk))
        await client.round_trip()
        client.answers[stream_id].reset = None
    await still_serves(client)


async def test_messages_that_wait_for_their_handler_hold_the_callers_window(
    client: RawClient, handlers: Handlers
) -> None:
    stream_id = client.request(message(b"x" * LIMIT) * 3000, path=SLOW, end=False)
    await client.round_trip()
    await client.round_trip()
    assert client.credit.get(stream_id, 0) == 0
    handlers.go.set()
    await client.round_trip()
    await client.round_trip()
    assert client.credit[stream_id] > 0
    client.data(stream_id, b"", end=True)
    assert (await client.answer(stream_id)).status is Status.OK
    assert len(handlers.requests) == 3000


async def test_empty_data_frames_inside_a_message_change_nothing(client: RawClient) -> None:
    stream_id = client.request(message(b"hello")[:7], end=False)
    client.write(DataFrame(stream_id, b""))
    client.write(DataFrame(stream_id, message(b"hello")[7:]))
    client.write(DataFrame(stream_id, b"", flags=["END_STREAM"]))
    answer = await client.answer(stream_id)
    assert answer.data == message(b"hello")


async def test_padded_data_is_read_without_its_padding(client: RawClient) -> None:
    stream_id = client.request(end=False)
    client.write(DataFrame(stream_id, message(b"hello"), pad_length=200, flags=["PADDED", "END_STREAM"]))
    assert (await client.answer(stream_id)).data == message(b"hello")


async def test_a_unary_handler_does_not_start_before_the_request_is_whole(
    client: RawClient, handlers: Handlers
) -> None:
    stream_id = client.request(message(b"hello"), end=False)
    await client.round_trip()
    assert handlers.requests == []
    client.data(stream_id, b"", end=True)
    assert (await client.answer(stream_id)).data == message(b"hello")


async def test_a_second_message_is_refused_even_when_it_comes_late(client: RawClient, handlers: Handlers) -> None:
    stream_id = client.request(message(b"one"), end=False)
    await client.round_trip()
    client.data(stream_id, message(b"two"), end=True)
    assert (await client.answer(stream_id)).status is Status.UNIMPLEMENTED
    assert handlers.requests == []


async def test_a_deadline_passes_while_the_request_is_still_on_its_way(client: RawClient, handlers: Handlers) -> None:
    answer = await client.answer(client.request(message(b"x" * 10)[:8], {"grpc-timeout": "50m"}, end=False))
    assert answer.status is Status.DEADLINE_EXCEEDED
    assert handlers.requests == []


async def test_a_stream_cut_by_the_caller_cancels_its_handler_and_no_other(
    client: RawClient, handlers: Handlers, served: Served
) -> None:
    stream_id = client.request(message(b"x"), path=HELD)
    await asyncio.wait_for(handlers.held.wait(), BOUND_S)
    client.reset(stream_id)
    await asyncio.wait_for(handlers.cancelled.wait(), BOUND_S)
    assert client.answers[stream_id].headers == {}
    await still_serves(client)


async def test_a_request_cut_before_it_was_whole_never_reaches_its_handler(
    client: RawClient, handlers: Handlers, served: Served
) -> None:
    client.reset(client.request(message(b"x"), end=False))
    await client.round_trip()
    assert (handlers.requests, served.in_flight, served.rejected) == ([], 0, [])
    await still_serves(client)


async def test_a_stream_that_ends_in_the_middle_of_a_message_keeps_what_came_before(client: RawClient) -> None:
    stream_id = client.request(message(b"one"), end=False, path=STREAM)
    await client.round_trip()
    client.data(stream_id, message(b"two")[:6], end=True)
    answer = await client.answer(stream_id)
    assert (answer.data, answer.status) == (message(b"one"), Status.INTERNAL)


async def test_frames_that_http2_says_to_ignore_are_ignored(client: RawClient) -> None:
    stream_id = client.request(message(b"hello")[:6], end=False)
    for frame_type, on_stream in ((0xFA, 0), (0xFB, stream_id)):  # types that no standard has taken
        client.write_bytes(b"\0\0\x07" + bytes([frame_type, 0]) + on_stream.to_bytes(4, "big") + b"unknown")
    client.write(PriorityFrame(stream_id, depends_on=0, stream_weight=3))
    client.data(stream_id, message(b"hello")[6:], end=True)
    assert (await client.answer(stream_id)).data == message(b"hello")


async def test_request_trailers_are_taken_as_the_end_of_the_stream(client: RawClient) -> None:
    stream_id = client.request(message(b"hello"), end=False)
    block = client.encoder.encode([("x-trailer", "1")])
    client.write(HeadersFrame(stream_id, block, flags=["END_HEADERS", "END_STREAM"]))
    assert (await client.answer(stream_id)).data == message(b"hello")


async def test_an_answer_larger_than_the_window_waits_for_it(served: Served) -> None:
    async with raw_client(served, settings={4: 10}) as client:  # INITIAL_WINDOW_SIZE: ten bytes
        stream_id = client.request(message(b"0123456789abcdef"))
        await client.round_trip()
        await client.round_trip()  # the first brought the request to its handler, the second brings what it could send
        assert client.answers[stream_id].data == message(b"0123456789abcdef")[:10]
        client.grant(stream_id, 100)
        answer = await client.answer(stream_id)
        assert (answer.data, answer.status) == (message(b"0123456789abcdef"), Status.OK)


async def test_a_deadline_that_passes_while_the_answer_waits_for_window_ends_the_call(served: Served) -> None:
    async with raw_client(served, settings={4: 10}) as client:
        answer = await client.answer(client.request(message(b"0123456789abcdef"), {"grpc-timeout": "100m"}))
        assert (answer.status, len(answer.data)) == (Status.DEADLINE_EXCEEDED, 10)
        assert answer.http_status == "200"
