"""TLS before HTTP/2: who gets through the handshake, who does not, and what is left of either."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509

from connectors._server.tls import TlsFiles
from connectors._wire.status import Status
from connectors._wire.transport import Call, Limits, Reason, unary
from connectors._wire.transport.entrance import Entrance
from tests.wire.tls import certify
from tests.wire.transport_peers import BOUND_S, Served, serving, unary_unary, until

pytestmark = pytest.mark.anyio

ECHO = "/test.Echo/Unary"
TURNED_AWAY = [("", Status.UNAVAILABLE, Reason.TLS_HANDSHAKE)]


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return TlsFiles(*certify(tmp_path_factory.mktemp("tls"), x509.IPAddress(ip_address("127.0.0.1"))))


@pytest.fixture(scope="module")
def client_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return TlsFiles(*certify(tmp_path_factory.mktemp("client"), x509.DNSName("propeller")))


async def echo(call: Call, request: bytes) -> bytes:
    return request


@asynccontextmanager
async def server(tls: Callable[[], ssl.SSLContext], limits: Limits | None = None) -> AsyncIterator[Served]:
    async with serving({ECHO: unary(echo)}, limits, tls=tls) as served:
        yield served


def trusting(files: TlsFiles, own: TlsFiles | None = None, *, alpn: str | None = "h2") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.certificate)
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def channel(served: Served, files: TlsFiles, own: TlsFiles | None = None) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(
        files.certificate.read_bytes(),
        own.key.read_bytes() if own else None,
        own.certificate.read_bytes() if own else None,
    )
    return grpc.aio.secure_channel(served.target, credentials, options=[("grpc.use_local_subchannel_pool", 1)])


async def connect(served: Served, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(served.host, served.port, ssl=context)


async def closed_by_server(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(BOUND_S):
        try:
            while await reader.read(65_536):
                pass
        except OSError:
            pass


async def test_grpcs_own_client_is_served(files: TlsFiles) -> None:
    context = files.context()
    async with server(lambda: context) as served, channel(served, files) as opened:
        assert await unary_unary(opened, ECHO)(b"x" * 100_000) == b"x" * 100_000
        assert await asyncio.wait_for(served.server.drain(BOUND_S), BOUND_S) == 0
    assert served.rejected == []


async def test_a_context_that_changes_under_load_loses_no_call(tmp_path: Path) -> None:
    name = x509.IPAddress(ip_address("127.0.0.1"))
    for each in ("old", "new"):
        (tmp_path / each).mkdir()
    old, new = (TlsFiles(*certify(tmp_path / each, name)) for each in ("old", "new"))
    contexts = {"in use": old.context()}
    answered = 0
    stop = asyncio.Event()

    async def keep_calling(opened: grpc.aio.Channel) -> None:
        nonlocal answered
        while not stop.is_set():
            assert await unary_unary(opened, ECHO)(b"x", timeout=BOUND_S) == b"x"
            answered += 1

    async with (
        server(lambda: contexts["in use"]) as served,
        channel(served, old) as before,
        channel(served, new) as after,
        asyncio.TaskGroup() as callers,
    ):
        for _ in range(8):
            callers.create_task(keep_calling(before))
        await until(lambda: answered >= 100)
        contexts["in use"] = new.context()
        callers.create_task(keep_calling(after))
        seen = answered
        await until(lambda: answered >= seen + 300)
        stop.set()
    assert served.rejected == []


async def test_a_client_that_asks_for_another_protocol_is_turned_away(files: TlsFiles) -> None:
    context = files.context()
    async with server(lambda: context) as served:
        for alpn in (None, "http/1.1"):
            reader, writer = await connect(served, trusting(files, alpn=alpn))
            await closed_by_server(reader)
            writer.close()
    assert served.rejected == TURNED_AWAY * 2


async def test_tls_older_than_1_2_is_not_spoken(files: TlsFiles) -> None:
    context = files.context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    async with server(lambda: context) as served:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client = trusting(files)
            client.minimum_version = client.maximum_version = version
            _, writer = await connect(served, client)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
            writer.close()


async def test_where_client_certificates_are_asked_for_one_is_needed(files: TlsFiles, client_files: TlsFiles) -> None:
    context = TlsFiles(files.certificate, files.key, client_ca=client_files.certificate).context()
    async with server(lambda: context) as served:
        async with channel(served, files, client_files) as opened:
            assert await unary_unary(opened, ECHO)(b"x") == b"x"
        for stranger in (None, files):
            async with channel(served, files, stranger) as opened:
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await unary_unary(opened, ECHO)(b"x", timeout=BOUND_S)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert set(served.rejected) == set(TURNED_AWAY)


async def test_a_client_without_tls_is_told_off_at_once_and_the_log_says_why(
    files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "connectors")
    context = files.context()
    async with server(lambda: context) as served:
        async with grpc.aio.insecure_channel(served.target) as opened:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await unary_unary(opened, ECHO)(b"x", timeout=BOUND_S)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert served.rejected[0] == TURNED_AWAY[0]
    assert "this port speaks TLS alone" in caplog.text


async def test_a_client_with_tls_at_a_port_without_is_told_off_at_once_and_the_log_says_why(
    files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "connectors")
    async with serving({ECHO: unary(echo)}) as served, channel(served, files) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await unary_unary(opened, ECHO)(b"x", timeout=BOUND_S)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "It seems to speak TLS, and this port does not" in caplog.text


async def test_a_client_that_hangs_up_in_the_handshake_leaves_nothing(files: TlsFiles) -> None:
    context = files.context()
    async with server(lambda: context) as served:
        for said in (b"", b"\x16\x03\x01\x02\x00\x01", b"\0" * 500):
            _, writer = await asyncio.open_connection(served.host, served.port)
            writer.write(said)
            await until(lambda: served.handshakes == 1)
            writer.close()
            await until(lambda: served.handshakes == 0)
        assert served.connections == 0
    assert served.rejected == TURNED_AWAY * 3


async def test_handshakes_count_as_connections(files: TlsFiles) -> None:
    context = files.context()
    async with server(lambda: context, Limits(max_connections=2)) as served:
        mute = [await asyncio.open_connection(served.host, served.port) for _ in range(2)]
        await until(lambda: served.handshakes == 2)
        reader, writer = await asyncio.open_connection(served.host, served.port)
        await closed_by_server(reader)
        assert served.rejected == [("", Status.UNAVAILABLE, Reason.TOO_MANY_CONNECTIONS)]
        for _, each in mute:
            each.close()
        await until(lambda: served.handshakes == 0)
        async with channel(served, files) as opened:
            assert await unary_unary(opened, ECHO)(b"x") == b"x"
        writer.close()


async def test_a_handshake_that_does_not_come_ends_when_its_time_is_over(files: TlsFiles) -> None:
    context = files.context()
    async with server(lambda: context, Limits(handshake_timeout=0.1)) as served:
        reader, writer = await asyncio.open_connection(served.host, served.port)
        await closed_by_server(reader)
        writer.close()
    assert served.rejected == [("", Status.UNAVAILABLE, Reason.SLOW_HANDSHAKE)]


async def test_a_client_in_its_handshake_does_not_hold_up_a_drain(files: TlsFiles) -> None:
    context = files.context()
    async with server(lambda: context) as served:
        reader, writer = await asyncio.open_connection(served.host, served.port)
        await until(lambda: served.handshakes == 1)
        assert await asyncio.wait_for(served.server.drain(60), BOUND_S) == 0
        await closed_by_server(reader)
        writer.close()
        assert (served.handshakes, served.connections) == (0, 0)


async def test_a_client_that_ends_its_handshake_while_a_drain_waits_is_asked_to_go_elsewhere(files: TlsFiles) -> None:
    context = files.context()
    async with server(lambda: context) as served:
        reader, writer = await asyncio.open_connection(served.host, served.port)
        await until(lambda: served.handshakes == 1)
        draining = asyncio.ensure_future(served.server.drain(60))
        await asyncio.sleep(0)
        await writer.start_tls(trusting(files), server_hostname="127.0.0.1")
        async with asyncio.timeout(BOUND_S):
            received = b""
            while b"\0\0\x08\x07\0\0\0\0\0" + (2**31 - 1).to_bytes(4, "big") not in received:
                received += await reader.readexactly(1)
        writer.transport.abort()
        assert await asyncio.wait_for(draining, BOUND_S) == 0


class Owner:
    """What an entrance tells its server, noted."""

    def has_room(self) -> bool:
        return True

    def admit(self) -> asyncio.Protocol:
        raise AssertionError("nobody gets through")

    def turned_away(self, reason: Reason) -> None:
        raise AssertionError("nobody is turned away")

    def handshakes_changed(self) -> None:
        pass


async def test_a_handshake_that_is_ended_before_it_began_closes_its_socket(files: TlsFiles) -> None:
    entrance = Entrance(Owner(), files.context, 10.0)
    place = await entrance.start("127.0.0.1", 0)
    with socket.create_connection(place) as client:
        entrance._accept(entrance._listeners[0])
        assert len(entrance) == 1
        entrance.abort()
        await until(lambda: len(entrance) == 0)
        client.settimeout(BOUND_S)
        assert client.recv(1) == b""
    entrance.close()
