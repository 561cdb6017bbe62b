"""What every store does, whatever it is made of: payloads beside the records."""

from __future__ import annotations

import pytest

from connectors._stores import Store
from tests.stores.conftest import Servers
from tests.stores.steps import LONG, reserve

pytestmark = pytest.mark.anyio


async def test_a_payload_is_kept_for_its_time(servers: Servers) -> None:
    await servers.first.save("k", "result", b"bytes", ttl=8)
    servers.clock.advance(7)
    assert await servers.second.load("k", "result") == b"bytes"
    servers.clock.advance(1)
    assert await servers.second.load("k", "result") is None


async def test_a_later_payload_replaces_the_earlier_one_and_its_time(servers: Servers) -> None:
    await servers.first.save("k", "result", b"earlier", ttl=8)
    await servers.second.save("k", "result", b"", ttl=LONG)
    servers.clock.advance(8)
    assert await servers.first.expire(older_than=LONG) == 0
    assert await servers.first.load("k", "result") == b""
    await servers.first.save("k", "result", b"later", ttl=8)
    servers.clock.advance(8)
    assert await servers.second.load("k", "result") is None


async def test_payloads_of_two_kinds_and_two_keys_are_apart(store: Store) -> None:
    await store.save("k", "request", b"request", ttl=LONG)
    assert await store.load("k", "result") is None
    assert await store.load("other", "request") is None
    await store.save("k", "given", b"given", ttl=LONG)
    await store.save("k", "fresh", b"fresh", ttl=LONG)
    assert [await store.load("k", kind) for kind in ("request", "given", "fresh")] == [b"request", b"given", b"fresh"]


async def test_a_dropped_payload_is_gone_and_no_other(servers: Servers) -> None:
    await servers.first.save("k", "request", b"request", ttl=LONG)
    await servers.first.save("k", "result", b"result", ttl=LONG)
    await servers.second.drop("k", "request")
    await servers.second.drop("k", "given")
    assert await servers.first.load("k", "request") is None
    assert await servers.first.load("k", "result") == b"result"


@pytest.mark.parametrize("data", [b"", bytes(range(256)), b"\x00" * 1_000_000])
async def test_any_bytes_can_be_a_payload(servers: Servers, data: bytes) -> None:
    await servers.first.save("k", "result", data, ttl=LONG)
    assert await servers.second.load("k", "result") == data


@pytest.mark.parametrize("key", ["", "a\x00b", "snow ❄", "a:b/{c}"])
async def test_any_text_can_be_a_payloads_key(servers: Servers, key: str) -> None:
    await servers.first.save(key, "result", b"bytes", ttl=8)
    assert await servers.second.load(key, "result") == b"bytes"
    servers.clock.advance(8)
    assert await servers.second.expire(older_than=LONG) == 1


@pytest.mark.parametrize("end", ["released", "forgotten", "expired"])
async def test_a_record_that_goes_leaves_its_payloads(servers: Servers, end: str) -> None:
    await reserve(servers.first)
    await servers.first.save("k", "request", b"request", ttl=LONG)
    match end:
        case "released":
            await servers.first.release("k", owner="a")
        case "forgotten":
            await servers.first.forget("k")
        case _:
            servers.clock.advance(60)
            assert await servers.first.expire(older_than=60) == 1
    assert await servers.second.find("k") is None
    assert await servers.second.load("k", "request") == b"request"
