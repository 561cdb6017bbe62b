"""Random histories: every store answers what a few lines of plain Python say it should."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from connectors._stores import Payload, State, Store
from connectors._stores.memory import MemoryStore
from connectors._stores.sqlite import SqliteStore
from tests.stores.conftest import Clock

T = TypeVar("T")

KEYS = st.sampled_from(["k1", "k2"])
OWNERS = st.sampled_from(["a", "b"])
METAS = st.sampled_from([b"", b"job 1", b"job 2"])
SPANS = st.sampled_from([1.0, 4.0, 16.0])
"""Seconds: few values, so that ends often coincide."""
KINDS: st.SearchStrategy[Payload] = st.sampled_from(("request", "result"))


@dataclass
class Expected:
    state: State
    owner: str
    lease_until: float
    changed: float
    first: tuple[str, str]
    meta: bytes | None = None


class StoreMachine(RuleBasedStateMachine):
    """Operations one after the other, on either of the servers that share the store."""

    make: Callable[[Path, Clock], list[Store]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.servers = type(self).make(Path(self.folder.name) / "store.db", self.clock)
        self.records: dict[str, Expected] = {}
        self.payloads: dict[tuple[str, Payload], tuple[float, bytes]] = {}
        self.turn = 0
        for server in self.servers:
            self.run(server.start())

    def teardown(self) -> None:
        for server in self.servers:
            self.run(server.aclose())
        self.runner.close()
        self.folder.cleanup()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @property
    def store(self) -> Store:
        self.turn += 1
        return self.servers[self.turn % len(self.servers)]

    def held(self, key: str, owner: str) -> Expected | None:
        record = self.records.get(key)
        return record if record and record.state is State.RESERVED and record.owner == owner else None

    @rule(seconds=SPANS)
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(key=KEYS, owner=OWNERS, lease=SPANS, fingerprint=st.sampled_from(["f", "g"]))
    def reserve(self, key: str, owner: str, lease: float, fingerprint: str) -> None:
        now, record = self.clock.now, self.records.get(key)
        claim = self.run(self.store.reserve(key, owner=owner, lease=lease, task_type="t", fingerprint=fingerprint))
        free = record is None or record.state is State.UNKNOWN
        free = free or (record is not None and record.state is State.RESERVED and record.lease_until <= now)
        assert claim.mine == (free or self.held(key, owner) is not None)
        assert claim.looked_for == (claim.mine and record is not None)
        if claim.mine:
            first = record.first if record else ("t", fingerprint)
            self.records[key] = Expected(State.RESERVED, owner, now + lease, now, first)

    @rule(key=KEYS, owner=OWNERS, lease=SPANS)
    def renew(self, key: str, owner: str, lease: float) -> None:
        held = self.held(key, owner)
        assert self.run(self.store.renew(key, owner=owner, lease=lease)) == (held is not None)
        if held:
            held.lease_until, held.changed = self.clock.now + lease, self.clock.now

    @rule(key=KEYS, owner=OWNERS, meta=METAS)
    def complete(self, key: str, owner: str, meta: bytes) -> None:
        held, record = self.held(key, owner), self.records.get(key)
        repeated = record is not None and (record.state, record.owner, record.meta) == (State.DONE, owner, meta)
        assert self.run(self.store.complete(key, owner=owner, meta=meta)) == (held is not None or repeated)
        if held:
            held.state, held.meta, held.changed = State.DONE, meta, self.clock.now

    @rule(key=KEYS, owner=OWNERS)
    def mark_unknown(self, key: str, owner: str) -> None:
        held, record = self.held(key, owner), self.records.get(key)
        repeated = record is not None and (record.state, record.owner) == (State.UNKNOWN, owner)
        assert self.run(self.store.mark_unknown(key, owner=owner)) == (held is not None or repeated)
        if held:
            held.state, held.changed = State.UNKNOWN, self.clock.now

    @rule(key=KEYS, owner=OWNERS)
    def release(self, key: str, owner: str) -> None:
        held = self.held(key, owner)
        assert self.run(self.store.release(key, owner=owner)) == (held is not None)
        if held:
            del self.records[key]

    @rule(key=KEYS, kind=KINDS, data=METAS, ttl=SPANS)
    def save(self, key: str, kind: Payload, data: bytes, ttl: float) -> None:
        self.run(self.store.save(key, kind, data, ttl=ttl))
        self.payloads[key, kind] = (self.clock.now + ttl, data)

    @rule(older_than=SPANS)
    def expire(self, older_than: float) -> None:
        now = self.clock.now
        payloads = [at for at, (ends, _) in self.payloads.items() if ends <= now]
        records = [
            key
            for key, record in self.records.items()
            if record.changed <= now - older_than and (record.state is not State.RESERVED or record.lease_until <= now)
        ]
        assert self.run(self.store.expire(older_than=older_than)) == len(payloads) + len(records)
        for at in payloads:
            del self.payloads[at]
        for key in records:
            del self.records[key]

    @invariant()
    def every_server_sees_what_is_expected(self) -> None:
        for server in self.servers:
            for key in ("k1", "k2"):
                record, expected = self.run(server.find(key)), self.records.get(key)
                assert (record is None) == (expected is None)
                if record and expected:
                    assert (record.state, record.meta) == (expected.state, expected.meta)
                    assert (record.task_type, record.fingerprint) == expected.first
                for kind in ("request", "result"):
                    ends, data = self.payloads.get((key, kind), (0.0, b""))
                    assert self.run(server.load(key, kind)) == (data if ends > self.clock.now else None)


class MemoryMachine(StoreMachine):
    @staticmethod
    def make(path: Path, clock: Clock) -> list[Store]:
        return [MemoryStore(clock=clock)]


class SqliteMachine(StoreMachine):
    @staticmethod
    def make(path: Path, clock: Clock) -> list[Store]:
        return [SqliteStore(path, clock=clock), SqliteStore(path, clock=clock)]


def test_any_history_in_memory_is_as_the_model_says() -> None:
    run_state_machine_as_test(MemoryMachine, settings=settings(max_examples=60, stateful_step_count=40))


def test_any_history_of_two_servers_on_one_sqlite_file_is_as_the_model_says() -> None:
    run_state_machine_as_test(SqliteMachine, settings=settings(max_examples=25, stateful_step_count=25))


Step = Callable[[Store], Awaitable[object]]

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda key, owner: lambda store: store.reserve(key, owner=owner, lease=4.0, task_type="t"), KEYS, OWNERS),
    st.builds(lambda key, owner, meta: lambda store: store.complete(key, owner=owner, meta=meta), KEYS, OWNERS, METAS),
    st.builds(lambda key, owner: lambda store: store.mark_unknown(key, owner=owner), KEYS, OWNERS),
    st.builds(lambda key, owner: lambda store: store.release(key, owner=owner), KEYS, OWNERS),
    st.builds(lambda key, kind, data: lambda store: store.save(key, kind, data, ttl=4.0), KEYS, KINDS, METAS),
    st.builds(lambda key, kind: lambda store: store.load(key, kind), KEYS, KINDS),
    st.builds(lambda key: lambda store: store.find(key), KEYS),
    st.just(lambda store: store.expire(older_than=0.0)),
)


@given(steps=st.lists(STEPS, max_size=30))
@settings(max_examples=60)
def test_operations_that_share_a_transaction_answer_as_if_each_had_its_own(steps: list[Step]) -> None:
    async def run() -> tuple[list[object], list[object]]:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            memory, sqlite = MemoryStore(clock=clock), SqliteStore(Path(folder) / "store.db", clock=clock)
            await sqlite.start()
            together = await asyncio.gather(*(step(sqlite) for step in steps))
            await sqlite.aclose()
        return [await step(memory) for step in steps], together

    one_by_one, together = asyncio.run(run())
    assert together == one_by_one
