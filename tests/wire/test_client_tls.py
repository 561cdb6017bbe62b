"""The client and servers behind TLS, and servers that come back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors import TaskTemplate
from connectors.client import CallFailed, ConnectorClient, tls
from tests.wire.connectors_for_tests import Served
from tests.wire.transport_peers import until

pytestmark = pytest.mark.anyio

TASK = TaskTemplate(type="acme")


def certify(folder: Path, name: x509.GeneralName) -> tuple[Path, Path]:
    """A certificate that is its own authority, for one name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "connectors")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "server.pem", folder / "server.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def behind_tls(address: str, certificate: Path, key: Path) -> AsyncIterator[str]:
    """A proxy that ends TLS before a server, as a mesh or an ingress does; its address."""
    host, port = address.split(":")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


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
