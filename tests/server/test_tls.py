"""`connectors serve` and `connectors check` with a certificate: files that are wrong, and files that change."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from grpc_health.v1 import health_pb2

from connectors._server.tls import Certificate, TlsFault, TlsFiles
from tests.server.calls import health
from tests.server.conftest import Serve
from tests.wire.tls import certify
from tests.wire.transport_peers import until

HERE = x509.IPAddress(ip_address("127.0.0.1"))


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return made(tmp_path / "tls")


def made(folder: Path) -> TlsFiles:
    folder.mkdir()
    return TlsFiles(*certify(folder, HERE))


def replace(old: TlsFiles, new: TlsFiles) -> None:
    """As tools that renew certificates do: each file is there at every instant."""
    os.replace(new.certificate, old.certificate)
    os.replace(new.key, old.key)


def is_serving(address: str, authority: bytes) -> bool:
    """Asks on a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(authority), options=options) as opened:
        answer = health(opened).Check(health_pb2.HealthCheckRequest(), timeout=30)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def test_a_certificate_that_is_replaced_under_load_is_shown_to_new_clients_and_no_call_is_lost(
    serve: Serve, files: TlsFiles, tmp_path: Path
) -> None:
    server = serve(f"--tls-certificate={files.certificate}", f"--tls-key={files.key}")
    first = files.certificate.read_bytes()
    assert is_serving(server.address, first)
    answered, failed, stop = [0], [], threading.Event()

    def keep_calling() -> None:
        with grpc.secure_channel(server.address, grpc.ssl_channel_credentials(first)) as opened:
            check = health(opened).Check
            while not stop.is_set():
                try:
                    check(health_pb2.HealthCheckRequest(), timeout=30)
                    answered[0] += 1
                except grpc.RpcError as error:
                    failed.append(error)

    caller = threading.Thread(target=keep_calling)
    caller.start()
    second = made(tmp_path / "new")
    authority = second.certificate.read_bytes()
    replace(files, second)
    server.logged(event="tls_reloaded")
    assert is_serving(server.address, authority)
    with pytest.raises(grpc.RpcError, match="CERTIFICATE_VERIFY_FAILED"):
        is_serving(server.address, first)
    stop.set()
    caller.join()
    assert answered[0] > 0
    assert failed == []
    assert server.is_running()


def test_a_new_certificate_that_is_unfit_leaves_the_old_one_in_use_and_is_an_error_in_the_log(
    serve: Serve, files: TlsFiles
) -> None:
    server = serve(f"--tls-certificate={files.certificate}", f"--tls-key={files.key}")
    authority = files.certificate.read_bytes()
    assert is_serving(server.address, authority)
    files.key.write_text("no key", "ascii")
    line = server.logged(event="tls_unfit")
    assert line["level"] == "error"
    assert f"--tls-key: {files.key} holds no private key in the form PEM" in line["message"]
    assert is_serving(server.address, authority)


def no_file(files: TlsFiles) -> str:
    files.key.unlink()
    return f"--tls-key: {files.key} cannot be read: no such file or directory"


def a_folder(files: TlsFiles) -> str:
    files.certificate.unlink()
    files.certificate.mkdir()
    return f"--tls-certificate: {files.certificate} cannot be read: is a directory"


def no_certificate(files: TlsFiles) -> str:
    files.certificate.write_bytes(files.key.read_bytes())
    return f"--tls-certificate: {files.certificate} holds no certificate in the form PEM"


def no_key(files: TlsFiles) -> str:
    files.key.write_bytes(b"")
    return f"--tls-key: {files.key} holds no private key in the form PEM"


def the_key_of_another(files: TlsFiles) -> str:
    files.key.write_bytes(made(files.key.parent / "other").key.read_bytes())
    return f"--tls-key: {files.key} is not the key of {files.certificate}"


def an_encrypted_key(files: TlsFiles) -> str:
    key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
    locked = serialization.BestAvailableEncryption(b"open sesame")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(pem, pkcs8, locked))
    return f"--tls-key: {files.key} is encrypted; the server has no password for it"


SPOILED = [no_file, a_folder, no_certificate, no_key, the_key_of_another, an_encrypted_key]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_file_that_cannot_be_used_is_named_with_its_setting(
    spoil: Callable[[TlsFiles], str], files: TlsFiles
) -> None:
    line = spoil(files)
    with pytest.raises(TlsFault) as fault:
        files.context()
    assert str(fault.value) == line


def test_authorities_of_clients_that_are_none_are_named(files: TlsFiles, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    with pytest.raises(TlsFault) as fault:
        TlsFiles(files.certificate, files.key, client_ca=empty).context()
    assert str(fault.value) == f"--tls-client-ca: {empty} holds no certificate in the form PEM"


def test_a_server_with_a_bad_key_does_not_start_and_says_why_in_a_line(serve: Serve, files: TlsFiles) -> None:
    line = the_key_of_another(files)
    server = serve(f"--tls-certificate={files.certificate}", f"--tls-key={files.key}")
    assert line in server.wrote("--tls-key")
    assert server.wait() == 1


def test_check_tells_of_a_bad_key(files: TlsFiles, tmp_path: Path) -> None:
    line = no_key(files)
    command = str(Path(sys.executable).with_name("connectors"))
    done = subprocess.run(
        [command, "check", "--store=memory://", f"--tls-certificate={files.certificate}", f"--tls-key={files.key}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "400"},
        check=False,
    )
    assert done.returncode == 1
    assert line in " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def changes() -> list[bool]:
    return []


@pytest.mark.anyio
async def test_each_change_is_told_of_once(files: TlsFiles, tmp_path: Path, changes: list[bool]) -> None:
    certificate = Certificate(files, on_reload=changes.append, look_every=0.01)
    await certificate.start()
    try:
        first = certificate.context()
        good = files.key.read_bytes()
        files.key.write_bytes(b"")
        await until(lambda: changes == [False])
        assert certificate.context() is first
        files.key.write_bytes(good)
        await until(lambda: changes == [False, True])
        second = made(tmp_path / "new")
        os.replace(second.certificate, files.certificate)  # of a pair that is being replaced, the first
        await until(lambda: changes == [False, True, False])
        os.replace(second.key, files.key)
        await until(lambda: changes == [False, True, False, True])
        assert certificate.context() is not first
    finally:
        await certificate.aclose()


@pytest.mark.anyio
async def test_a_link_that_is_turned_is_a_change(tmp_path: Path, changes: list[bool]) -> None:
    made(tmp_path / "first")
    made(tmp_path / "second")
    link = tmp_path / "data"
    link.symlink_to("first")
    certificate = Certificate(
        TlsFiles(link / "server.pem", link / "server.key"), on_reload=changes.append, look_every=0.01
    )
    await certificate.start()
    try:
        turned = tmp_path / "turned"
        turned.symlink_to("second")
        os.replace(turned, link)
        await until(lambda: changes == [True])
    finally:
        await certificate.aclose()
