"""The way to the other service, where that one does not answer a call: what is made again, and what never is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from connectors import DeadlineExceeded, TaskCategory
from connectors._server.fallback_channel import FallbackChannel
from connectors._wire.fallback import Lists, Unreachable
from connectors._wire.fallback.other import Headers
from connectors.testing.server import ConnectorServer
from tests.wire.connectors_for_tests import AcmeConnector
from tests.wire.test_client_drain import peer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(scope="module", autouse=True)
def one_event_loop() -> None:
    """The other modules' fixture: nothing here runs on grpc.aio."""


class Reply:
    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def initial(self, headers: Headers) -> None:
        pass

    async def message(self, data: bytes) -> None:
        self.messages.append(data)


async def call(address: str, *, seconds: float = 30.0) -> Headers:
    async def requests() -> AsyncGenerator[bytes, None]:
        yield b"request"

    host, _, port = address.rpartition(":")
    channel = FallbackChannel(host, int(port))
    try:
        until = asyncio.get_running_loop().time() + seconds
        return await channel.call("/a.B/C", [], requests(), Reply(), until=until)
    finally:
        channel.close()


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
        channel.close()
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


async def test_a_service_that_is_silent_is_waited_for_until_the_deadline() -> None:
    async with peer() as (_, address):
        with pytest.raises(DeadlineExceeded, match=f"^the fallback service {address} did not answer in time$"):
            await call(address, seconds=0.2)
