"""What is checked when a Redis store is opened, on servers that are set up that way."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from connectors._stores import StoreUnavailable, StoreUnfit, open_store
from connectors._stores.redis import RedisStore
from connectors._stores.redis_server_check import unfitness
from tests.stores.redis_server import RedisServer, available, free_port, redis_server

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(available() is not None, reason=str(available()))]

SECRET = "5ecr3t-w0rd"
Started = Callable[..., RedisServer]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Starts servers with the options given."""
    with ExitStack() as stack:

        def start(*options: str) -> RedisServer:
            folder = tmp_path / f"redis{len(list(tmp_path.iterdir()))}"
            server: AbstractContextManager[RedisServer] = redis_server(folder, *options)
            return stack.enter_context(server)

        yield start


async def opened(url: str) -> None:
    store = open_store(url)
    try:
        await store.start()
    finally:
        await store.aclose()


async def refusal(url: str) -> str:
    with pytest.raises(StoreUnfit) as caught:
        await opened(url)
    return caught.value.message


async def logged(url: str, caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    caplog.clear()
    with caplog.at_level(logging.INFO, "connectors.stores"):
        await opened(url)
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "connectors.stores"]


def address(server: RedisServer, credentials: str) -> str:
    return server.url.replace("//", f"//{credentials}@")


async def test_a_server_that_is_not_there_is_unavailable_at_once() -> None:
    before = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:\d+/0 cannot be reached"):
        await opened(f"redis://:{SECRET}@127.0.0.1:{free_port()}/0")
    assert time.monotonic() - before < 1.5


async def test_a_server_that_does_not_answer_is_unavailable_after_two_seconds(started: Started) -> None:
    server = started()
    server.pause()
    before = time.monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer within 2 s"):
        await opened(server.url)
    assert 1.9 < time.monotonic() - before < 4


async def test_a_server_that_takes_no_connection_is_unavailable_after_one_second() -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # what the kernel takes by itself
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        with pytest.raises(StoreUnavailable, match="cannot be reached: no connection within 1 s"):
            await opened(f"redis://127.0.0.1:{listening.getsockname()[1]}/0")


@pytest.mark.parametrize("credentials", ["", f":{SECRET}-not@", f"nobody:{SECRET}@"])
async def test_a_server_that_refuses_the_credentials_is_unfit_and_the_password_is_not_told(
    started: Started, credentials: str
) -> None:
    server = started("--requirepass", SECRET)
    said = await refusal(server.url.replace("//", f"//{credentials}"))
    assert "refuses the credentials" in said
    assert SECRET not in said


async def test_a_password_for_a_server_that_has_none_is_unfit(started: Started) -> None:
    assert "refuses the credentials" in await refusal(address(started(), f":{SECRET}"))


async def test_a_user_and_a_password_open_the_store(started: Started) -> None:
    server = started("--requirepass", SECRET, "--user", *f"someone on >{SECRET} ~{{connectors}}:* +@all".split())
    await opened(address(server, f":{SECRET}"))
    await opened(address(server, f"someone:{SECRET}"))


async def test_a_user_who_may_not_write_is_told_what_is_needed(started: Started) -> None:
    server = started("--user", *f"someone on >{SECRET} ~* +@read +@connection".split())
    assert "does not allow its user what is needed" in await refusal(address(server, f"someone:{SECRET}"))


async def test_a_server_that_does_not_know_auth_does_not_make_the_password_known(started: Started) -> None:
    server = started("--rename-command", "AUTH", "")
    said = await refusal(address(server, f"someone:{SECRET}"))
    assert "unknown command" in said
    assert SECRET not in said


async def test_a_database_that_the_server_does_not_have_is_unfit(started: Started) -> None:
    assert "out of range" in await refusal(started().url.replace("/0", "/99"))


async def test_a_replica_is_unfit_and_the_primary_is_named(started: Started) -> None:
    primary = started()
    replica = started("--replicaof", f"127.0.0.1 {primary.port}")
    said = await refusal(replica.url)
    assert "is a replica" in said
    assert f"127.0.0.1:{primary.port}" in said


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_drop_records_is_unfit(started: Started, policy: str) -> None:
    said = await refusal(started("--maxmemory", "64mb", "--maxmemory-policy", policy).url)
    assert f"maxmemory-policy {policy}" in said
    assert "noeviction is expected" in said
    assert "second job" in said


@pytest.mark.parametrize(
    "options", [("--maxmemory", "64mb", "--maxmemory-policy", "noeviction"), ("--maxmemory-policy", "allkeys-lru")]
)
async def test_a_server_that_never_drops_records_is_fit(started: Started, options: tuple[str, ...]) -> None:
    await opened(started(*options).url)


@pytest.mark.parametrize(
    ("version", "fit"), [("5.0.14", False), ("6.0.16", False), ("6.2.0", True), ("7.0.15", True), ("10.1", True)]
)
def test_a_server_older_than_6_2_is_unfit(version: str, fit: bool) -> None:
    said = unfitness({"redis_version": version, "role": "master"})
    assert (said is None) == fit
    assert fit or f"version {version}; 6.2 or newer" in str(said)


async def test_records_of_a_newer_release_are_refused(started: Started) -> None:
    server = started()
    await opened(server.url)
    with Redis.from_url(server.url) as client:
        assert client.get("{connectors}:schema") == b"1"
        client.set("{connectors}:schema", "2")
    assert "schema 2, of a newer release" in await refusal(server.url)


@pytest.mark.parametrize("command", ["SET {connectors}:schema one", "LPUSH {connectors}:schema 1"])
async def test_another_programs_database_is_refused(started: Started, command: str) -> None:
    server = started()
    with Redis.from_url(server.url) as client:
        client.execute_command(*command.split())
    assert "another program's" in await refusal(server.url)


SYNCED = ("--appendonly", "yes", "--appendfsync")


@pytest.mark.parametrize(
    ("options", "level", "said"),
    [
        ((), logging.WARNING, "a restart of it loses every record"),
        (("--save", "3600 1"), logging.WARNING, "snapshots only (save 3600 1)"),
        ((*SYNCED, "everysec"), logging.INFO, "up to 1 s of records may be lost"),
        ((*SYNCED, "no"), logging.WARNING, "appendfsync no"),
        ((*SYNCED, "always", "--rename-command", "CONFIG", ""), logging.WARNING, "append-only file is on"),
        (("--rename-command", "CONFIG", ""), logging.WARNING, "append-only file is off"),
    ],
)
async def test_what_a_crash_of_the_server_loses_is_logged_in_one_line(
    started: Started, options: tuple[str, ...], level: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    [(at, line)] = await logged(started(*options).url, caplog)
    assert at == level
    assert said in line
    assert "\n" not in line


async def test_nothing_is_logged_of_a_server_that_loses_nothing(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    assert await logged(started(*SYNCED, "always").url, caplog) == []


async def test_what_a_server_does_not_tell_is_logged_as_not_checked(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    (_, first), (_, second) = await logged(started("--rename-command", "INFO", "").url, caplog)
    assert "redis_version, role, maxmemory_policy" in first
    assert "every record" in second


def until_ok(client: Any) -> None:
    """Returns when a cluster's node serves the cluster's slots, or knows who does."""
    until = time.monotonic() + 20
    while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
        assert time.monotonic() < until
        time.sleep(0.02)


async def test_a_cluster_of_one_node_holds_everything_in_one_slot(started: Started) -> None:
    server = started("--cluster-enabled", "yes")
    with Redis.from_url(server.url) as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        until_ok(client)
    now = time.time()
    store = RedisStore(server.url, clock=lambda: now)
    await store.start()
    await store.reserve("k", owner="a", lease=1.0, task_type="t", subject={})
    assert await store.complete("k", owner="a", meta=b"m")
    record = await store.find("k")
    assert record is not None
    assert await store.find_job(record.job) == record
    assert await store.want_deletion("k", reason="")
    await store.save("k", "result", b"r", ttl=1.0)
    assert await store.load("k", "result") == b"r"
    now += 10
    assert [each async for each in store.records()]
    assert await store.expire(older_than=1.0) == 2
    await store.aclose()


async def test_a_node_that_does_not_hold_the_slot_is_unfit(started: Started) -> None:
    holder, other = started("--cluster-enabled", "yes"), started("--cluster-enabled", "yes")
    with Redis.from_url(holder.url) as first, Redis.from_url(other.url) as second:
        first.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        first.execute_command("CLUSTER MEET", "127.0.0.1", other.port)
        until_ok(second)
    assert "node of a cluster that does not hold the slot" in await refusal(other.url)


@pytest.fixture
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The paths of one for 127.0.0.1, and of its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    names = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 {names}"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return str(folder / "cert.pem"), str(folder / "key.pem")


async def test_with_tls_the_servers_certificate_is_checked(started: Started, certificate: tuple[str, str]) -> None:
    trusted, key = certificate
    port = free_port()
    started("--tls-port", str(port), "--tls-cert-file", trusted, "--tls-key-file", key, "--tls-auth-clients", "no")
    with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await opened(f"rediss://127.0.0.1:{port}/0")
    await opened(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={trusted}")


def test_with_tls_a_store_whose_server_says_no_goodbye_leaves_no_socket_open(
    started: Started, certificate: tuple[str, str]
) -> None:
    trusted, key = certificate
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", trusted, "--tls-key-file", key, "--tls-auth-clients", "no"]
    server = started(*tls)

    async def use() -> None:
        store = RedisStore(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={trusted}", answer_within=60.0)
        await store.now()
        server.pause()
        await store.aclose()

    asyncio.run(use())
    server.resume()
    gc.collect()  # an open socket is a warning, which fails the test
