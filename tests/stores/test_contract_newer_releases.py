"""What every store does, whatever it is made of: what a newer release wrote is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors._stores import Deletion, Record, State
from tests.stores.conftest import Servers
from tests.stores.steps import LEASE, UNTOLD, found, put, replay, reserve, state

pytestmark = pytest.mark.anyio


NEWER = {"priority": 3, "more": {"nested": [1, None, "x"]}}


async def test_what_a_newer_release_wrote_survives_every_step_of_a_create(servers: Servers) -> None:
    store = servers.first
    at = servers.clock.now
    for key in ("k", "unknown", "taken"):
        await put(store, Record(key, "t", owner="a", lease_until=at + LEASE, created=at, changed=at, more=NEWER))
    assert await store.renew("k", owner="a", lease=1.0)
    servers.clock.advance(1)
    assert (await reserve(servers.second, owner="b")).record.more == NEWER
    assert await store.complete("k", owner="b", meta=b"job")
    await store.advance("k", 1)
    assert await store.mark_unknown("unknown", owner="a")
    assert (await store.remember(replace(UNTOLD, key="unknown", more={"another": 1}))).more == NEWER
    assert await store.mark_taken("taken", owner="a")
    assert (await replay(store)).record.more == NEWER
    for key in ("k", "unknown", "taken"):
        assert (await found(servers.second, key)).more == NEWER


async def test_what_a_newer_release_wrote_survives_everything_that_becomes_of_a_job(servers: Servers) -> None:
    assert (await servers.first.remember(replace(UNTOLD, more=NEWER))).more == NEWER
    for change in (
        servers.second.note("k", delivered=True, polled=True, terminal="FAILED"),
        servers.second.want_deletion("k", reason="aborted"),
        servers.second.claim_deletion("k", hold=LEASE),
        servers.second.set_aside("k", reason="reported", adopted_by="k2"),
        servers.second.note_deleted("k"),
    ):
        before = await found(servers.first)
        await change
        after = await found(servers.first)
        assert after != before
        assert after.more == NEWER
    assert (await found(servers.first)).deletion is Deletion.DONE
    assert [record.more async for record in servers.first.records()] == [NEWER]
    assert await state(servers.first) is State.DONE
