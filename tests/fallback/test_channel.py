"""The way to the other service, where that one does not answer a call: what is made again, and what never is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from connectors import DeadlineExceeded, TaskCategory
from connectors._server.fallback_channel import FallbackChannel
from connectors._wire.fallback import Lists, Unreachable
from connectors._wire.fallback.other import Headers
from connectors.testing.server import ConnectorServer
from tests.wire.connectors_for_tests import AcmeConnector
from tests.wire.test_client_drain import answered_early, peer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(scope="module", autouse=True)
def one_event_loop() -> None:
    """The other modules' fixture: nothing here runs on grpc.aio."""


Requests = Callable[[], AsyncGenerator[bytes, None]]
MIB = 1024 * 1024


class Reply:
    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def initial(self, headers: Headers) -> None:
        pass

    async def message(self, data: bytes) -> None:
        self.messages.append(data)


async def one() -> AsyncGenerator[bytes, None]:
    yield b"request"


async def call(address: str, *, requests: Requests = one, seconds: float = 30.0) -> Headers:
    host, _, port = address.rpartition(":")
    channel = FallbackChannel(host, int(port))
    try:
        until = asyncio.get_running_loop().time() + seconds
        return await channel.call("/a.B/C", [], requests(), Reply(), until=until)
    finally:
        await channel.aclose()


def going_away(code: ErrorCodes) -> Sequence[Frame]:
    return [GoAwayFrame(0, last_stream_id=0, error_code=code)]


def reset(code: ErrorCodes) -> Sequence[Frame]:
    return [RstStreamFrame(1, error_code=code)]


async def test_this_projects_own_service_lists_what_it_has() -> None:
    async with ConnectorServer(AcmeConnector()) as server:
        host, _, port = server.address.rpartition(":")
        channel = FallbackChannel(host, int(port))
        lists = Lists(channel)
        await lists.refresh(within=30)
        await channel.aclose()
    assert lists.task_types == {"acme"}
    assert lists.has("flyte1", TaskCategory("acme"))
    assert lists.has("flyte2", TaskCategory("acme"))


@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        (going_away(ErrorCodes.NO_ERROR), 2),
        (going_away(ErrorCodes.ENHANCE_YOUR_CALM), 1),
        (reset(ErrorCodes.REFUSED_STREAM), 2),
        (reset(ErrorCodes.INTERNAL_ERROR), 1),
    ],
    ids=["goes away", "is angry", "refuses", "breaks off"],
)
async def test_only_a_call_that_was_not_begun_is_made_again_and_once(answer: Sequence[Frame], tries: int) -> None:
    async with peer(answer=answer) as (server, address):
        with pytest.raises(Unreachable, match=f"^the fallback service {address} cannot be reached: the connection was"):
            await call(address)
        assert server.calls == tries


async def test_what_is_no_grpc_server_is_told_by_its_status() -> None:
    headers = HeadersFrame(1, Encoder().encode([(":status", "502")]), flags=["END_HEADERS", "END_STREAM"])
    async with peer(answer=[headers]) as (_, address):
        with pytest.raises(Unreachable, match="no gRPC server: HTTP status 502"):
            await call(address)


async def test_an_answer_stands_though_the_service_needs_no_more_of_the_request() -> None:
    async with peer(answer=answered_early()) as (_, address):
        for _ in range(10):
            assert (b"grpc-status", b"0") in await call(address)


async def test_a_service_that_is_silent_is_waited_for_until_the_deadline() -> None:
    async with peer() as (_, address):
        with pytest.raises(DeadlineExceeded, match=f"^the fallback service {address} did not answer in time$"):
            await call(address, seconds=0.2)


class Message(bytes):
    """Counts how many of them there are."""

    now = most = 0

    def __init__(self, _: bytes) -> None:
        Message.now += 1
        Message.most = max(Message.now, Message.most)

    def __del__(self) -> None:
        Message.now -= 1


async def sixty() -> AsyncGenerator[bytes, None]:
    for _ in range(60):
        yield Message(b"m" * MIB)


class Taker:
    """A server that takes so many bytes of each call before it refuses it."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = sizes
        self.calls = 0
        self.called_again = asyncio.Event()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(*frames: Frame) -> None:
            writer.write(b"".join(each.serialize() for each in frames))

        window, taken = 2**31 - 1, 0
        await reader.readuntil(b"SM\r\n\r\n")
        send(SettingsFrame(0, settings={SettingCodes.INITIAL_WINDOW_SIZE: window}))
        send(WindowUpdateFrame(0, window_increment=window - 65_535))
        try:
            while True:
                frame, length = Frame.parse_frame_header(memoryview(await reader.readexactly(9)))
                await reader.readexactly(length)
                self.calls += isinstance(frame, HeadersFrame)
                if self.calls == 2:
                    self.called_again.set()
                taken += length if isinstance(frame, DataFrame) else 0
                if self.calls and taken > self._sizes[self.calls - 1]:
                    send(RstStreamFrame(frame.stream_id, error_code=ErrorCodes.REFUSED_STREAM))
                    taken = 0
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def taking(taker: Taker) -> AsyncIterator[str]:
    server = await asyncio.start_server(taker.serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.wait_for(taker.left.wait(), 30)
    finally:
        server.close()


@pytest.mark.parametrize(("size", "tries"), [(4 * MIB, 2), (40 * MIB, 1)], ids=["little", "more than is kept"])
async def test_of_a_call_that_sends_without_end_little_is_kept_and_then_it_is_not_made_again(
    size: int, tries: int
) -> None:
    Message.now = Message.most = 0
    taker = Taker(size, size)
    async with taking(taker) as address:
        with pytest.raises(Unreachable):
            await call(address, requests=sixty)
    assert taker.calls == tries
    assert Message.most < 20


async def test_a_call_that_is_made_again_goes_on_with_what_its_caller_sends_later() -> None:
    taker = Taker(0, 20)

    async def requests() -> AsyncGenerator[bytes, None]:
        yield b"a message"
        await taker.called_again.wait()
        yield b"a message"

    async with taking(taker) as address:
        with pytest.raises(Unreachable):  # at the second refusal: both messages were taken by then
            await call(address, requests=requests)
    assert taker.calls == 2
