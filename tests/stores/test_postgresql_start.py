"""The PostgreSQL store's start: what it makes, what it refuses and in which words."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time

import psycopg
import pytest

from connectors._stores import StoreUnavailable, StoreUnfit, open_store
from connectors._stores.postgresql import PostgresStore, from_url
from connectors._stores.postgresql_schema import MIGRATIONS
from tests.stores.postgres_server import (
    PASSWORD,
    PostgresServer,
    available,
    pgbouncer,
    pgbouncer_available,
)

pytestmark = pytest.mark.anyio
needs_server = pytest.mark.skipif(available() is not None, reason=str(available()))

SECRET = "Sup3r-s3cret-w0rd"  # of no account anywhere


@pytest.fixture
def url(postgresql: PostgresServer) -> str:
    return postgresql.new_database()


async def start(url: str) -> None:
    store = PostgresStore(url, timeout=30)  # seconds: a busy machine is no fault
    try:
        await store.start()
        await store.reserve("k", owner="a", lease=60, task_type="bigquery")
    finally:
        await store.aclose()


async def fault_of(url: str) -> str:
    """Why the store is unfit."""
    with pytest.raises(StoreUnfit) as caught:
        await start(url)
    return caught.value.message


def user(server: PostgresServer, url: str, *grants: str) -> str:
    """The URL for a new user with these rights alone."""
    name = f"user_{url.rpartition('_')[2]}"
    server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", url)
    for grant in grants:
        server.execute(f"GRANT {grant} TO {name}", url)
    return server.database_url(url.rpartition("/")[2], name, SECRET)


# ----------------------------------------------------------------------------------------------------------- the schema


@needs_server
async def test_stores_that_start_first_at_once_all_start(postgresql: PostgresServer) -> None:
    for _ in range(3):
        url = postgresql.new_database()
        await asyncio.gather(*(start(url) for _ in range(4)))
        assert postgresql.execute("SELECT version FROM connectors_schema", url) == [(len(MIGRATIONS),)]


@pytest.mark.skipif(pgbouncer_available() is not None, reason=str(pgbouncer_available()))
async def test_stores_that_start_first_at_once_through_a_pooler_all_start(postgresql: PostgresServer) -> None:
    with pgbouncer(postgresql) as pooler:
        for _ in range(3):
            url = postgresql.new_database()
            await asyncio.gather(*(start(pooler.url(url)) for _ in range(4)))
            assert postgresql.execute("SELECT version FROM connectors_schema", url) == [(len(MIGRATIONS),)]


@needs_server
async def test_the_urls_options_choose_the_schema(postgresql: PostgresServer, url: str) -> None:
    postgresql.execute("CREATE SCHEMA other", url)
    await start(f"{url}?options=-csearch_path%3Dother")
    assert postgresql.execute("SELECT count(*) FROM other.connectors_records", url) == [(1,)]


@needs_server
async def test_a_newer_schema_that_names_this_release_as_able_to_use_it_is_used(
    postgresql: PostgresServer, url: str
) -> None:
    await start(url)
    postgresql.execute("UPDATE connectors_schema SET version = 99, usable_from = 1", url)
    postgresql.execute("ALTER TABLE connectors_records ADD COLUMN newer text", url)
    await start(url)
    assert postgresql.execute("SELECT version, usable_from FROM connectors_schema", url) == [(99, 1)]


@needs_server
async def test_another_newer_schema_is_refused(postgresql: PostgresServer, url: str) -> None:
    await start(url)
    postgresql.execute("UPDATE connectors_schema SET version = 99, usable_from = 98", url)
    assert "schema 99 is of a newer release, and can be used from schema 98 on" in await fault_of(url)


@needs_server
async def test_a_migration_that_fails_leaves_nothing_behind(postgresql: PostgresServer, url: str) -> None:
    postgresql.execute("CREATE TABLE connectors_payloads (somebody text)", url)
    assert 'relation "connectors_payloads" already exists' in await fault_of(url)
    assert postgresql.execute("SELECT to_regclass('connectors_records')", url) == [(None,)]


# ------------------------------------------------------------------------------------------------------------- the user


@needs_server
async def test_a_user_who_may_create_nothing_can_use_a_schema_that_exists(postgresql: PostgresServer, url: str) -> None:
    await start(url)
    await start(user(postgresql, url, "ALL ON ALL TABLES IN SCHEMA public"))


@needs_server
async def test_a_user_who_may_create_nothing_cannot_make_the_schema(postgresql: PostgresServer, url: str) -> None:
    assert "permission denied for schema public" in await fault_of(user(postgresql, url))


@needs_server
async def test_a_user_who_may_not_write_is_refused_at_the_start(postgresql: PostgresServer, url: str) -> None:
    await start(url)
    fault = await fault_of(user(postgresql, url, "SELECT ON ALL TABLES IN SCHEMA public"))
    assert "needs SELECT, INSERT, UPDATE and DELETE on connectors_records and connectors_payloads" in fault


@needs_server
@pytest.mark.parametrize(
    ("name", "password", "database", "fault"),
    [
        ("postgres", SECRET, "postgres", "password authentication failed"),
        ("nobody_we_know", SECRET, "postgres", "password authentication failed"),
        ("postgres", "not%2Fa%3Areal%40password", "no_such", 'database "no_such" does not exist'),
        ("nobody_we_know", "", "postgres", "no password supplied"),
    ],
)
async def test_who_is_refused_by_the_server_is_told_so(
    postgresql: PostgresServer, name: str, password: str, database: str, fault: str
) -> None:
    message = await fault_of(postgresql.database_url(database, name, password))
    assert fault in message
    assert SECRET not in message
    assert PASSWORD not in message


@pytest.mark.skipif(pgbouncer_available() is not None, reason=str(pgbouncer_available()))
async def test_who_is_refused_by_a_pooler_is_told_so(postgresql: PostgresServer) -> None:
    with pgbouncer(postgresql) as pooler:
        fault = await fault_of(pooler.url(postgresql.database_url("postgres", "postgres", SECRET)))
    assert "authentication failed" in fault
    assert SECRET not in fault


# ----------------------------------------------------------------------------------------------- the server's condition


@needs_server
async def test_a_standby_is_refused(own_postgresql: PostgresServer) -> None:
    own_postgresql.stop()
    (own_postgresql.folder / "data" / "standby.signal").touch()
    own_postgresql.start()
    assert "it is read-only" in await fault_of(own_postgresql.url)


@needs_server
async def test_a_user_whose_sessions_are_read_only_is_refused(url: str) -> None:
    assert "it is read-only" in await fault_of(f"{url}?options=-cdefault_transaction_read_only%3Don")


@needs_server
async def test_a_server_without_tls_is_refused_where_the_url_asks_for_it(url: str) -> None:
    assert "does not support SSL" in await fault_of(f"{url}?sslmode=require")


@needs_server
async def test_a_server_whose_connections_are_all_taken_is_unavailable(postgresql: PostgresServer, url: str) -> None:
    await start(url)
    limited = user(postgresql, url, "ALL ON ALL TABLES IN SCHEMA public")
    name = limited.partition("://")[2].partition(":")[0]
    postgresql.execute(f"ALTER ROLE {name} CONNECTION LIMIT 1")
    with psycopg.connect(limited), pytest.raises(StoreUnavailable, match="too many connections"):
        await start(limited)
    await start(limited)


@needs_server
async def test_a_server_that_shuts_down_is_unavailable(own_postgresql: PostgresServer) -> None:
    with psycopg.connect(own_postgresql.url):  # which a smart shutdown waits for
        os.kill(own_postgresql.pid, signal.SIGTERM)
        while True:
            with pytest.raises(StoreUnavailable) as caught:
                await _start_until_it_fails(own_postgresql.url)
            if "shutting down" in caught.value.message:
                break


async def _start_until_it_fails(url: str) -> None:
    while True:
        await start(url)


async def test_no_server_is_unavailable_at_once_and_the_password_is_not_told() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            await start(f"postgresql://somebody:{SECRET}@127.0.0.1:{port}/connectors")
    assert time.monotonic() - began < 10
    assert "the PostgreSQL store connectors on 127.0.0.1" in caught.value.message
    assert "refused" in caught.value.message
    assert SECRET not in caught.value.message


async def test_a_host_that_says_nothing_is_unavailable_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await start(f"postgresql://somebody:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/connectors")
    assert time.monotonic() - began < 10


@needs_server
async def test_the_second_of_two_hosts_is_found_where_the_first_is_gone(postgresql: PostgresServer, url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        gone = f"127.0.0.1:{probe.getsockname()[1]}"
        await start(url.replace("@127.0.0.1", f"@{gone},127.0.0.1"))


@needs_server
async def test_a_start_that_failed_can_be_repeated(own_postgresql: PostgresServer) -> None:
    own_postgresql.stop()
    store = PostgresStore(own_postgresql.url)
    with pytest.raises(StoreUnavailable):
        await store.start()
    own_postgresql.start()
    await store.start()
    assert await store.now() > 0
    await store.aclose()


# -------------------------------------------------------------------------------------------------------------- the URL


@pytest.mark.parametrize(
    "rest",
    [
        f"somebody:{SECRET}@x@host/db",
        f"somebody:{SECRET}/x@host/db",
        f"somebody:{SECRET}%zz@host/db",
        f"somebody:{SECRET}@host/db?no_such_option={SECRET}",
        f"somebody:{SECRET}@host/db?connect_timeout={SECRET}",
    ],
)
def test_a_url_that_libpq_cannot_read_or_would_misread_is_refused_and_not_repeated(rest: str) -> None:
    with pytest.raises(ValueError, match="PostgreSQL") as caught:
        from_url(f"postgresql://{rest}")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("rest", ["", "/db", "host", "somebody@host:5433/db?sslmode=verify-full", "one:1,two:2/db"])
def test_a_url_that_libpq_can_read_is_a_store(rest: str) -> None:
    assert isinstance(open_store(f"postgresql://{rest}"), PostgresStore)


async def test_a_port_that_is_none_is_no_matter_of_waiting() -> None:
    assert "invalid port number" in await fault_of("postgresql://127.0.0.1:99999/db")


def test_without_psycopg_the_url_says_what_to_install() -> None:
    code = """
import sys
sys.modules["psycopg"] = None
from connectors._stores import open_store
open_store("postgresql://host/db")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ValueError: " in done.stderr.splitlines()[-1]
    assert "pip install 'connectors-service[postgresql]'" in done.stderr.splitlines()[-1]
