"""The client's connections: what is found at an address that is no gRPC server, and what is left of them at the end."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from hyperframe.frame import SettingsFrame

from connectors.client import CallFailed, ConnectorClient, tls
from tests.wire.connectors_for_tests import serving
from tests.wire.tls import certify
from tests.wire.transport_peers import BOUND_S, PREFACE

pytestmark = pytest.mark.anyio

REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what is closed is reset, and what was not sent is thrown away."""


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def secured_by(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return context


async def failure_at(*addresses: str) -> CallFailed:
    async with ConnectorClient(addresses, timeout=BOUND_S) as client:
        with pytest.raises(CallFailed) as failure:
            await client.list_connectors()
    return failure.value


def said_and_reset(pieces: Sequence[bytes]) -> Callable[[socket.socket], None]:
    def speak(client: socket.socket) -> None:
        client.recv(len(PREFACE))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    return speak


@contextmanager
def in_a_thread(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that takes one client, and is closed when it has spoken."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError), listener.accept()[0] as client:  # it is closed where nobody came
                client.settimeout(BOUND_S)
                speak(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join()


@pytest.mark.parametrize("pieces", [[REFUSAL], [REFUSAL[:3], REFUSAL[3:]]], ids=["whole", "in pieces"])
async def test_what_speaks_http_1_is_told_though_it_resets_the_connection_at_once(pieces: Sequence[bytes]) -> None:
    with in_a_thread(said_and_reset(pieces)) as address:
        failure = await failure_at(address)
    assert str(failure) == "UNAVAILABLE: what answers at this address speaks HTTP/1, and no gRPC"


async def test_no_call_is_written_before_the_server_has_spoken() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(PREFACE))
        writer.write(REFUSAL)
        writer.close()
        heard.set_result(await reader.read())

    async with listening(listen) as address:
        failure = await failure_at(address)
        frames = await heard
    assert failure.status == "UNAVAILABLE"
    assert b"/flyteidl." not in frames
    assert b"\0\1" not in frames[3:5]


@pytest.mark.parametrize("words", [b"", b"\x15\x03\x01\x00\x02\x02\x46"], ids=["nothing", "a TLS alert"])
async def test_a_connection_that_ends_before_grpc_is_spoken_says_what_to_look_at(words: bytes) -> None:
    with in_a_thread(said_and_reset([words])) as address:
        failure = await failure_at(address)
    assert failure.status == "UNAVAILABLE"
    assert "lost before a gRPC server spoke on it; check the address, and whether TLS is used there" in failure.message


async def test_the_next_server_is_asked_where_one_speaks_no_grpc() -> None:
    with in_a_thread(said_and_reset([REFUSAL])) as address:
        async with serving() as served, ConnectorClient([address, served.address]) as client:
            assert await client.list_connectors()


async def test_a_client_that_is_closed_while_it_connects_leaves_no_connection() -> None:
    came, left = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        with suppress(OSError):
            while await reader.read(1_000):
                pass
        left.set()
        writer.close()

    async with listening(say_nothing) as address, asyncio.timeout(BOUND_S):
        async with ConnectorClient(address, timeout=None) as client:
            call = asyncio.create_task(client.list_connectors())
            await came.wait()
        with pytest.raises(CallFailed) as failure:
            await call
        await left.wait()
    assert failure.value.status == "UNAVAILABLE"


async def test_a_client_that_is_closed_during_a_handshake_leaves_no_connection(tmp_path: Path) -> None:
    certificate, key = certify(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))
    came, closed, left = threading.Event(), threading.Event(), threading.Event()

    def greet_late(client: socket.socket) -> None:
        came.set()
        closed.wait(BOUND_S)
        with suppress(OSError), secured_by(certificate, key).wrap_socket(client, server_side=True) as secured:
            secured.sendall(SettingsFrame(0).serialize())
            while secured.recv(1_000):
                pass
        left.set()

    with in_a_thread(greet_late) as address:
        async with ConnectorClient(address, ssl=tls(certificate), timeout=None) as client:
            call = asyncio.create_task(client.list_connectors())
            assert await asyncio.to_thread(came.wait, BOUND_S)
        closed.set()
        with pytest.raises(CallFailed, match="the channel is closed"):
            await asyncio.wait_for(call, BOUND_S)
        assert await asyncio.to_thread(left.wait, BOUND_S)


def test_a_client_whose_server_says_no_goodbye_over_tls_leaves_no_socket_open(tmp_path: Path) -> None:
    certificate, key = certify(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))
    over = threading.Event()

    def greet(client: socket.socket) -> None:
        with secured_by(certificate, key).wrap_socket(client, server_side=True) as secured:
            secured.sendall(SettingsFrame(0).serialize())
            over.wait(BOUND_S)

    async def call(address: str) -> None:
        async with ConnectorClient(address, ssl=tls(certificate), timeout=0.5) as client:
            with pytest.raises(CallFailed):
                await client.list_connectors()

    with in_a_thread(greet) as address:
        asyncio.run(call(address))
        over.set()
    gc.collect()  # an open socket is a warning, which fails the test
