"""What the transport's tests talk with: a server on a free port, and a client that writes frames one by one.

The client keeps no HTTP/2 state beyond its header compression, so it can send what no proper client would.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import grpc.aio
import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from connectors._wire.status import Status
from connectors._wire.transport import GrpcServer, Limits, Route

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BOUND_S = 30.0  # a test that waits longer than this has failed, also on a busy machine

REQUEST = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/test.Echo/Unary",
    ":authority": "localhost",
    "te": "trailers",
    "content-type": "application/grpc",
}


@dataclass
class Served:
    """A running server, and what it reported."""

    server: GrpcServer
    host: str
    port: int
    rejected: list[tuple[str, Status, str]] = field(default_factory=list)
    unhandled: list[tuple[str, BaseException]] = field(default_factory=list)

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"

    # Nothing but tests asks for these, so the server has no names for them.

    @property
    def connections(self) -> int:
        return len(self.server._sessions)

    @property
    def handshakes(self) -> int:
        return self.server._handshakes

    @property
    def in_flight(self) -> int:
        return len(self.server._in_flight)

    def cut_connections(self) -> None:
        for session in list(self.server._sessions):
            session.abort()


@asynccontextmanager
async def serving(
    routes: Mapping[str, Route], limits: Limits | None = None, tls: Callable[[], ssl.SSLContext] | None = None
) -> AsyncIterator[Served]:
    """A server, closed in the end; fails when an error got as far as the event loop."""
    faults: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    rejected: list[tuple[str, Status, str]] = []
    unhandled: list[tuple[str, BaseException]] = []

    def on_unhandled(method: str, error: BaseException) -> str:
        unhandled.append((method, error))
        return f"internal error {len(unhandled)}"

    server = GrpcServer(
        routes,
        limits=limits or Limits(),
        on_rejected=lambda method, status, reason: rejected.append((method, status, reason)),
        on_unhandled=on_unhandled,
    )
    host, port = await server.start("127.0.0.1", 0, tls=tls)
    try:
        yield Served(server, host, port, rejected, unhandled)
    finally:
        await server.close()
        loop.set_exception_handler(before)
    assert not faults, faults


@dataclass
class Answer:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    received: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None

    @property
    def data(self) -> bytes:
        return bytes(self.received)

    @property
    def http_status(self) -> str:
        return self.headers[":status"]

    @property
    def status(self) -> Status:
        return Status(int((self.trailers or self.headers)["grpc-status"]))

    @property
    def message(self) -> str:
        return (self.trailers or self.headers).get("grpc-message", "")


class RawClient:
    """One connection. SETTINGS and PING are confirmed by itself unless ``confirms`` is cleared."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._next_stream = 1
        self._unconfirmed: bytes | None = None
        self._kept: bytearray | None = None
        self.confirms = True
        self.answers: dict[int, Answer] = {}
        self.goaways: list[GoAwayFrame] = []
        self.pings: list[bytes] = []
        self.settings: dict[int, int] = {}
        self.credit: dict[int, int] = {}

    def request(
        self,
        data: bytes = b"",
        headers: Mapping[str, str | None] | None = None,
        *,
        path: str = REQUEST[":path"],
        end: bool = True,
    ) -> int:
        """Opens a stream with ``headers`` beside or in place of the usual ones; None leaves one out."""
        wanted = {**REQUEST, ":path": path, **(headers or {})}
        stream_id, self._next_stream = self._next_stream, self._next_stream + 2
        pairs = [(name, value) for name, value in wanted.items() if value is not None]
        self.open(stream_id, pairs, end=end and not data)
        if data:
            self.data(stream_id, data, end=end)
        return stream_id

    def open(
        self, stream_id: int, headers: Sequence[tuple[str, str] | hpack.HeaderTuple], *, end: bool = False
    ) -> None:
        frame = HeadersFrame(stream_id, self.encoder.encode(headers), flags=["END_HEADERS"])
        if end:
            frame.flags.add("END_STREAM")
        self.answers[stream_id] = Answer()
        self.write(frame)

    def data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        for start in range(0, max(len(data), 1), 16_384):
            chunk = DataFrame(stream_id, data[start : start + 16_384])
            if end and start + 16_384 >= len(data):
                chunk.flags.add("END_STREAM")
            self.write(chunk)

    def reset(self, stream_id: int) -> None:
        self.write(RstStreamFrame(stream_id, error_code=8))

    def grant(self, stream_id: int, size: int) -> None:
        self.write(WindowUpdateFrame(stream_id, window_increment=size))

    async def confirm_ping(self) -> None:
        """Answers the PING that ``confirms`` holds back, or will."""
        async with asyncio.timeout(BOUND_S):
            while self._unconfirmed is None:
                await self._read_frame()
        ping, self._unconfirmed = self._unconfirmed, None
        self.write(PingFrame(0, ping, flags=["ACK"]))

    def write(self, *frames: Frame) -> None:
        self.write_bytes(b"".join(frame.serialize() for frame in frames))

    def write_bytes(self, data: bytes) -> None:
        if self._kept is not None:
            self._kept += data
        else:
            self._writer.write(data)

    def take_writes(self) -> Callable[[], None]:
        """Keeps what is written from now on; what is returned writes it all at once."""
        self._kept = bytearray()

        def let_go() -> None:
            kept, self._kept = self._kept, None
            self.write_bytes(bytes(kept or b""))

        return let_go

    def pause_reading(self) -> None:
        """Stops taking bytes from the socket: the kernel's buffers fill, and then the server's."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def unsent(self) -> int:
        """Bytes that the server's kernel does not take."""
        return self._writer.transport.get_write_buffer_size()

    def end_writing(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def read_to_the_end(self) -> None:
        """Takes whatever comes, frames or not."""
        async with asyncio.timeout(BOUND_S):
            try:
                await self._reader.read()
            except ConnectionError:
                return

    @property
    def _transport(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self._writer.transport)  # typed as write-only

    async def answer(self, stream_id: int) -> Answer:
        """Reads until the stream is over."""
        answer = self.answers[stream_id]
        async with asyncio.timeout(BOUND_S):
            while not answer.ended and answer.reset is None:
                await self._read_frame()
        return answer

    async def read_until_goaway(self, count: int = 1) -> GoAwayFrame:
        async with asyncio.timeout(BOUND_S):
            while len(self.goaways) < count:
                await self._read_frame()
        return self.goaways[count - 1]

    async def read_until_closed(self) -> None:
        async with asyncio.timeout(BOUND_S):
            try:
                while True:
                    await self._read_frame()
            except (asyncio.IncompleteReadError, ConnectionError):
                return

    async def round_trip(self) -> None:
        """Returns once the server has handled everything written before."""
        async with asyncio.timeout(BOUND_S):
            data = b"%08d" % (len(self.pings) + 1)
            self.write(PingFrame(0, data))
            while data not in self.pings:
                await self._read_frame()

    async def _read_frame(self) -> None:
        frame, length = Frame.parse_frame_header(memoryview(await self._reader.readexactly(9)))
        frame.parse_body(memoryview(await self._reader.readexactly(length)))
        stream_id = frame.stream_id
        if isinstance(frame, HeadersFrame):
            pairs = {str(name): str(value) for name, value in self._decoder.decode(frame.data)}
            answer = self.answers[stream_id]
            if answer.headers:
                answer.trailers = pairs
            else:
                answer.headers = pairs
            answer.ended = "END_STREAM" in frame.flags
        elif isinstance(frame, DataFrame):
            self.answers[stream_id].received += frame.data
        elif isinstance(frame, RstStreamFrame):
            self.answers[stream_id].reset = frame.error_code
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.settings |= frame.settings
            if self.confirms:
                self.write(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, WindowUpdateFrame):
            self.credit[stream_id] = self.credit.get(stream_id, 0) + frame.window_increment
        elif isinstance(frame, PingFrame):
            if "ACK" in frame.flags:
                self.pings.append(frame.opaque_data)
                return
            if self.confirms:
                self.write(PingFrame(0, frame.opaque_data, flags=["ACK"]))
            else:
                self._unconfirmed = frame.opaque_data


@asynccontextmanager
async def raw_client(served: Served, settings: dict[int, int] | None = None) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection(served.host, served.port)
    client = RawClient(reader, writer)
    client.write_bytes(PREFACE)
    client.write(SettingsFrame(0, settings=settings or {}))
    try:
        yield client
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


# Google's client without a serializer: bytes in, bytes out.


def unary_unary(channel: grpc.aio.Channel, path: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(path)


def unary_stream(channel: grpc.aio.Channel, path: str) -> grpc.aio.UnaryStreamMultiCallable[bytes, bytes]:
    return channel.unary_stream(path)


def stream_unary(channel: grpc.aio.Channel, path: str) -> grpc.aio.StreamUnaryMultiCallable[bytes, bytes]:
    return channel.stream_unary(path)


def stream_stream(channel: grpc.aio.Channel, path: str) -> grpc.aio.StreamStreamMultiCallable[bytes, bytes]:
    return channel.stream_stream(path)


async def until(reached: Callable[[], bool]) -> None:
    """Lets the event loop turn until ``reached``; fails when that never comes."""
    async with asyncio.timeout(BOUND_S):
        while not reached():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


def message(payload: bytes, flag: int = 0) -> bytes:
    """A length-prefixed message, written out here so that the server's own framing is not tested with itself."""
    return bytes([flag]) + len(payload).to_bytes(4, "big") + payload
