"""The client and servers behind TLS, and servers that come back."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from connectors import TaskTemplate
from connectors.client import CallFailed, ConnectorClient, tls
from tests.wire.connectors_for_tests import Served
from tests.wire.tls import behind_tls, certify, copy
from tests.wire.transport_peers import until

pytestmark = pytest.mark.anyio

TASK = TaskTemplate(type="acme")


async def test_a_server_whose_certificate_is_trusted_is_called(served: Served, tmp_path: Path) -> None:
    certificate, key = certify(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))
    async with (
        behind_tls(served.address, certificate, key) as address,
        ConnectorClient(address, ssl=tls(certificate)) as client,
    ):
        await client.create(TASK)
    assert len(served.acme.created) == 1


async def test_a_server_whose_certificate_nobody_vouches_for_is_not_called(served: Served, tmp_path: Path) -> None:
    certificate, key = certify(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))
    async with behind_tls(served.address, certificate, key) as address, ConnectorClient(address, ssl=tls()) as client:
        with pytest.raises(CallFailed, match="CERTIFICATE_VERIFY_FAILED") as failure:
            await client.create(TASK)
    assert failure.value.status == "UNAVAILABLE"
    assert not served.acme.created


async def test_a_certificate_for_another_name_is_taken_only_where_that_name_is_asked_for(
    served: Served, tmp_path: Path
) -> None:
    certificate, key = certify(tmp_path, x509.DNSName("connectors.example.com"))
    async with behind_tls(served.address, certificate, key) as address:
        async with ConnectorClient(address, ssl=tls(certificate)) as client:
            with pytest.raises(CallFailed, match="CERTIFICATE_VERIFY_FAILED"):
                await client.create(TASK)
        async with ConnectorClient(address, ssl=tls(certificate), server_name="connectors.example.com") as client:
            await client.create(TASK)
    assert len(served.acme.created) == 1


def test_a_file_without_certificates_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(ValueError, match=r"ca\.pem cannot be read: No such file"):
        tls(path)
    path.write_text("none", "utf-8")
    with pytest.raises(ValueError, match=r"ca\.pem holds no certificates"):
        tls(path)


async def test_a_client_whose_connections_were_cut_connects_again(served: Served) -> None:
    writers: list[asyncio.StreamWriter] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = served.address.split(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        writers.extend((writer, inner_writer))
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with ConnectorClient(f"127.0.0.1:{port}") as client:
            await client.create(TASK)
            for each in writers:
                each.close()
            await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)
            (channel,) = client._channels
            await until(lambda: not channel._connected)
            await client.create(TASK)
            assert len(writers) == 4
    finally:
        server.close()
    assert len(served.acme.created) == 2


async def test_a_server_that_does_not_get_to_a_connection_leaves_time_for_the_next(
    served: Served, tmp_path: Path
) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)  # no TLS comes of it
    certificate, key = certify(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))
    try:
        first = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        async with (
            behind_tls(served.address, certificate, key) as second,
            ConnectorClient([first, second], ssl=tls(certificate), timeout=3.0) as client,
        ):
            await client.create(TASK)
    finally:
        silent.close()
    assert len(served.acme.created) == 1
