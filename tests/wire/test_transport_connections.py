"""Connections that misbehave, and what is left of them."""

from __future__ import annotations

import asyncio
import gc
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, RstStreamFrame, SettingsFrame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors._wire.status import Status
from connectors._wire.transport import Call, Limits, Reason, Route, unary
from connectors._wire.transport.session import Session
from tests.wire.transport_peers import (
    BOUND_S,
    PREFACE,
    RawClient,
    Served,
    message,
    raw_client,
    serving,
    unary_unary,
    until,
)

pytestmark = pytest.mark.anyio

MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE = 3, 4, 6
PROTOCOL_ERROR, ENHANCE_YOUR_CALM = 1, 11


class Handlers:
    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.sent = 0

    async def echo(self, call: Call, request: bytes) -> bytes:
        return request

    async def hold(self, call: Call, request: bytes) -> bytes:
        self.held.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def flood(self, call: Call) -> None:
        for _ in range(10_000):
            await call.send(b"x" * 10_000)
            self.sent += 1


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def served(handlers: Handlers) -> AsyncIterator[Served]:
    routes = {
        "/test.Echo/Unary": unary(handlers.echo),
        "/test.Echo/Held": unary(handlers.hold),
        "/test.Echo/Flood": Route(handlers.flood, server_streaming=True),
    }
    limits = Limits(max_concurrent_streams=20, max_header_list_bytes=5000, max_connections=3)
    async with serving(routes, limits) as running:
        yield running


async def works(client: RawClient) -> None:
    answer = await client.answer(client.request(message(b"hello")))
    assert (answer.status, answer.data) == (Status.OK, message(b"hello"))


async def until_still(measure: Callable[[], int]) -> None:
    """Lets the event loop turn until ``measure`` has moved from nothing and moves no more."""
    async with asyncio.timeout(BOUND_S):
        previous = -1
        while (now := measure()) != previous or now == 0:
            previous = now
            await asyncio.sleep(0.2)


async def until_closed(served: Served) -> None:
    await until(lambda: served.connections == 0)


async def until_quiet(served: Served) -> None:
    await until(lambda: served.in_flight == 0)


async def test_the_limits_are_told_to_the_client_in_the_first_settings(served: Served) -> None:
    async with raw_client(served) as client:
        await works(client)
    assert client.settings[MAX_CONCURRENT_STREAMS] == 20
    assert client.settings[MAX_HEADER_LIST_SIZE] == 5000
    assert client.settings[INITIAL_WINDOW_SIZE] == 4 * 1024 * 1024


async def test_a_ping_is_answered(served: Served) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        assert client.pings == [b"00000001"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="HTTP/1.1"),
        pytest.param(PREFACE + DataFrame(1, b"x").serialize(), id="data on an idle stream"),
        pytest.param(PREFACE + b"\0\0\x05\x01\x04\0\0\0\x01\xff\xff\xff\xff\xff", id="headers that do not decode"),
        pytest.param(PREFACE + SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 2**31}).serialize(), id="bad setting"),
        pytest.param(PREFACE + b"\xff\xff\xff\0\0\0\0\0\x01" + b"x" * 17_000, id="a frame too large"),
        pytest.param(PREFACE + b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0", id="a window update of nothing"),
    ],
)
async def test_a_protocol_error_ends_its_connection_with_goaway_and_no_other(served: Served, data: bytes) -> None:
    async with raw_client(served) as other:
        await works(other)
        reader, writer = await asyncio.open_connection(served.host, served.port)
        broken = RawClient(reader, writer)
        broken.write_bytes(data)
        assert (await broken.read_until_goaway()).error_code != 0
        await broken.read_until_closed()
        writer.close()
        await works(other)
    assert served.rejected == [("", Status.INTERNAL, Reason.PROTOCOL_ERROR)]


async def test_a_protocol_error_cancels_the_calls_of_its_connection(served: Served, handlers: Handlers) -> None:
    async with raw_client(served) as client:
        client.request(message(b"x"), path="/test.Echo/Held")
        await asyncio.wait_for(handlers.held.wait(), BOUND_S)
        client.write(DataFrame(99, b"x"))
        await asyncio.wait_for(handlers.cancelled.wait(), BOUND_S)
        assert (await client.read_until_goaway()).error_code == PROTOCOL_ERROR


async def test_headers_far_over_the_limit_end_the_connection(served: Served) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        client.request(b"", {f"x-{number}": "" for number in range(600)})
        assert (await client.read_until_goaway()).error_code == ENHANCE_YOUR_CALM


async def test_more_streams_than_allowed_end_the_connection(served: Served) -> None:
    async with raw_client(served) as client:
        for _ in range(21):
            client.request(message(b"x"), path="/test.Echo/Held")
        assert (await client.read_until_goaway()).error_code != 0
        await client.read_until_closed()
    async with raw_client(served) as client:
        await works(client)


async def test_a_connection_over_the_limit_is_turned_away_and_the_next_one_is_not(served: Served) -> None:
    async with raw_client(served) as first, raw_client(served) as second, raw_client(served) as third:
        for client in (first, second, third):
            await works(client)
        async with raw_client(served) as fourth:
            goaway = await fourth.read_until_goaway()
            assert (goaway.error_code, goaway.additional_data) == (ENHANCE_YOUR_CALM, b"too many connections")
            await fourth.read_until_closed()
        await works(first)
    await until_closed(served)
    assert served.rejected == [("", Status.UNAVAILABLE, Reason.TOO_MANY_CONNECTIONS)]
    async with raw_client(served) as client:
        await works(client)


async def test_a_client_that_says_goaway_is_closed_without_an_error(served: Served) -> None:
    async with raw_client(served) as client:
        await works(client)
        client.write(GoAwayFrame(0))
        await client.read_until_closed()
    assert served.rejected == []


async def test_a_client_that_does_not_read_is_not_read_from_and_its_answers_do_not_pile_up(
    served: Served, handlers: Handlers
) -> None:
    async with raw_client(served, settings={INITIAL_WINDOW_SIZE: 2**31 - 1}) as client:
        client.grant(0, 2**30)
        await client.round_trip()
        flood = client.request(message(b""), path="/test.Echo/Flood")
        client.pause_reading()
        await until_still(lambda: handlers.sent)
        assert handlers.sent < 10_000
        # 64 MiB of frames of no known type: more than the kernel holds, and nothing to a server that reads.
        client.write_bytes((b"\0\x40\0\xfa\0\0\0\0\0" + b"x" * 16_384) * 4096)
        await until_still(client.unsent)
        assert client.unsent() > 0
        async with raw_client(served) as other:
            await works(other)
        client.reset(flood)
        client.resume_reading()
        await client.round_trip()
        assert client.unsent() == 0


async def test_a_burst_of_streams_reset_at_once_leaves_nothing_running(served: Served) -> None:
    async with raw_client(served) as client:
        await client.round_trip()
        for _ in range(500):
            stream_id = client.request(message(b"x"), path="/test.Echo/Held")
            client.write(RstStreamFrame(stream_id, error_code=8))
        await client.round_trip()
        await until_quiet(served)
        await works(client)


async def test_closed_connections_leave_nothing_behind(served: Served) -> None:
    def kept() -> int:
        gc.collect()
        return sum(isinstance(thing, Session | Call) for thing in gc.get_objects())

    before = kept()
    for _ in range(20):
        async with raw_client(served) as client:
            await works(client)
            client.request(message(b"x"), path="/test.Echo/Held")
            await client.round_trip()
        await until_closed(served)
    await until_quiet(served)
    assert kept() <= before


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40))))
async def test_no_sequence_of_frames_harms_the_server(served: Served, noise: list[tuple[int, int, int, bytes]]) -> None:
    async with raw_client(served) as client:
        client.request(message(b"hello"))
        for frame_type, flags, stream_id, body in noise:
            head = len(body).to_bytes(3, "big") + bytes([frame_type, flags]) + stream_id.to_bytes(4, "big")
            client.write_bytes(head + body)
        client.end_writing()
        await client.read_to_the_end()
    await until_closed(served)
    async with raw_client(served) as client:
        await works(client)
    await until_closed(served)
    await until_quiet(served)
    assert served.unhandled == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl program to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, found = folder / "key.pem", folder / "certificate.pem"
    arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(found)]
    subprocess.run([openssl, *arguments.split(), *names], check=True, capture_output=True)
    return found, key


async def test_tls_is_spoken_where_a_context_is_given(handlers: Handlers, certificate: tuple[Path, Path]) -> None:
    found, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found, key)
    context.set_alpn_protocols(["h2"])
    credentials = grpc.ssl_channel_credentials(found.read_bytes())
    options = [("grpc.ssl_target_name_override", "localhost")]
    async with (
        serving({"/test.Echo/Unary": unary(handlers.echo)}, tls=lambda: context) as served,
        grpc.aio.secure_channel(served.target, credentials, options=options) as channel,
    ):
        assert await unary_unary(channel, "/test.Echo/Unary")(b"x" * 100_000) == b"x" * 100_000
        assert await asyncio.wait_for(served.server.drain(BOUND_S), BOUND_S) == 0
