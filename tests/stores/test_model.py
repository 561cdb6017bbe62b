"""Random histories: every store answers what a few lines of plain Python say it should."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from connectors._stores import Attention, Payload, Record, Store, job_of
from connectors._stores.memory import MemoryStore
from connectors._stores.rules import CLAIMED
from connectors._stores.sqlite import SqliteStore
from tests.stores.conftest import Clock, Make
from tests.stores.store_model import Expected, Model

T = TypeVar("T")

KEY_NAMES = ["k0", "k1", "lock"]
"""Two generations of one run, and a key that is no job's."""
KEYS = st.sampled_from(KEY_NAMES)
OWNERS = st.sampled_from(["a", "b"])
META_BYTES = [b"", b"job 1", b"job 2"]
METAS = st.sampled_from(META_BYTES)
SPANS = st.sampled_from([1.0, 4.0, 16.0, 1_800.0])
"""Seconds: few values, so that ends often coincide."""
ADOPTS = st.sampled_from(["", *KEY_NAMES])
KINDS: st.SearchStrategy[Payload] = st.sampled_from(("request", "result"))
REASONS = st.sampled_from(["aborted", "orphan", f"{CLAIMED}: mine"])
GIVEN_JOB = "given"
JOBS = [GIVEN_JOB, *(job_of("t", 0, meta) for meta in META_BYTES)]
STILL = st.one_of(st.none(), st.none(), st.sampled_from(Attention))
KIND_NAMES: tuple[Payload, ...] = ("request", "result")


class StoreMachine(RuleBasedStateMachine):
    """Operations one after the other, on either of the servers that share the store."""

    make: ClassVar[Make]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.model = Model(self.clock)
        self.servers = type(self).make(self.clock)
        self.turn = 0
        for server in self.servers:
            self.run(server.start())

    def teardown(self) -> None:
        for server in self.servers:
            self.run(server.aclose())
        self.runner.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @property
    def store(self) -> Store:
        self.turn += 1
        return self.servers[self.turn % len(self.servers)]

    @rule(seconds=SPANS)
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    # --- a create

    @rule(
        key=KEYS,
        owner=OWNERS,
        lease=SPANS,
        fingerprint=st.sampled_from(["f", "g", ""]),
        over_after=st.none() | SPANS,
    )
    def reserve(self, key: str, owner: str, lease: float, fingerprint: str, over_after: float | None) -> None:
        now, before = self.clock.now, self.model.records.get(key)
        claim = self.run(
            self.store.reserve(
                key,
                owner=owner,
                lease=lease,
                task_type="t",
                run="k0" if key == "k1" else "",
                generation=int(key == "k1"),
                fingerprint=fingerprint,
                subject=None if key == "lock" else {},
                over_after=over_after,
            )
        )
        if before is None:
            described = ("k0" if key == "k1" else key, int(key == "k1"), fingerprint)
            before = Expected(owner, now, tracked=key != "lock", described=described, lease=now + lease)
            self.model.records[key] = before
            assert (claim.mine, claim.looked_for, claim.over) == (True, False, False)
            return
        over = before.state == "taken"
        if over_after is not None:
            ended = before.terminal is not None and now - before.terminal[1] >= over_after
            over = over or ended or (before.state == "done" and (before.deleted or before.to_delete is not None))
        another = before.state == "reserved" and before.owner != owner and before.lease > now
        mine = not over and before.state != "done" and not another
        assert (claim.mine, claim.looked_for, claim.over) == (mine, mine, over)
        again = not over and before.state == "done" and before.arrived is False and before.asked is None
        if mine:
            before.state, before.owner, before.lease = "reserved", owner, now + lease
            if before.deleted:
                before.deleted, before.tries, before.reason = False, 0, before.reason if before.aside else ""
        if again:
            before.arrived = None
        if mine or again:
            before.is_asked_for()
        if mine or again or over:
            before.changed = now
        before.is_as(claim.record)

    @rule(key=KEYS, owner=OWNERS, lease=SPANS)
    def renew(self, key: str, owner: str, lease: float) -> None:
        held = self.model.held(key, owner)
        assert self.run(self.store.renew(key, owner=owner, lease=lease)) == (held is not None)
        if held:
            held.lease, held.changed = self.clock.now + lease, self.clock.now

    @rule(key=KEYS, owner=OWNERS, meta=METAS, fingerprint=st.sampled_from(["f", "h", ""]), adopts=ADOPTS)
    def complete(self, key: str, owner: str, meta: bytes, fingerprint: str, adopts: str) -> None:
        held, record = self.model.held(key, owner), self.model.records.get(key)
        repeated = record is not None and (record.state, record.owner, record.meta) == ("done", owner, meta)
        answer = self.run(self.store.complete(key, owner=owner, meta=meta, fingerprint=fingerprint, adopts=adopts))
        assert answer == (held is not None or repeated)
        if held:
            run, generation, first = held.described
            held.described, held.adopts = (run, generation, first or fingerprint), adopts
            self.model.done(held, meta)

    @rule(key=KEYS, meta=METAS, adopts=ADOPTS, delivered=st.sampled_from([None, True, False, False]))
    def make_a_job(self, key: str, meta: bytes, adopts: str, delivered: bool | None) -> None:
        """As most histories begin, so that more of them come to what follows."""
        self.reserve(key, "a", 4.0, "f", None)
        self.complete(key, "a", meta, "f", adopts)
        self.note(key, delivered, polled=False, terminal="")

    @rule(key=KEYS, owner=OWNERS, taken=st.booleans())
    def end_without_a_job(self, key: str, owner: str, taken: bool) -> None:
        held, record = self.model.held(key, owner), self.model.records.get(key)
        state = "taken" if taken else "unknown"
        repeated = record is not None and (record.state, record.owner) == (state, owner)
        end = self.store.mark_taken if taken else self.store.mark_unknown
        assert self.run(end(key, owner=owner)) == (held is not None or repeated)
        if held:
            held.state, held.lease, held.changed = state, 0.0, self.clock.now

    @rule(key=KEYS, owner=OWNERS)
    def release(self, key: str, owner: str) -> None:
        held = self.model.held(key, owner)
        assert self.run(self.store.release(key, owner=owner)) == (held is not None)
        if held:
            del self.model.records[key]

    @rule(key=KEYS, generation=st.integers(0, 3))
    def advance(self, key: str, generation: int) -> None:
        self.run(self.store.advance(key, generation))
        if record := self.model.records.get(key):
            record.latest, record.changed = max(record.latest, generation), self.clock.now

    @rule(key=KEYS, meta=METAS, adopts=ADOPTS)
    def remember(self, key: str, meta: bytes, adopts: str) -> None:
        found = Record(key, "t", fingerprint="r", meta=meta, owner="c", tracked=True, adopts=adopts)
        stands = self.run(self.store.remember(found))
        record = self.model.records.setdefault(key, Expected("c", 0.0, described=(key, 0, "r")))
        if record.state in {"reserved", "unknown"}:
            run, generation, first = record.described
            record.described, record.adopts = (run, generation, first or "r"), adopts
            self.model.done(record, meta)
        record.is_as(stands)

    # --- what becomes of a job

    @rule(
        key=KEYS,
        delivered=st.none() | st.booleans(),
        polled=st.booleans(),
        terminal=st.sampled_from(["", "", "SUCCEEDED", "FAILED"]),
    )
    def note(self, key: str, delivered: bool | None, polled: bool, terminal: str) -> None:
        noted = self.run(self.store.note(key, delivered=delivered, polled=polled, terminal=terminal))
        record = self.model.records.get(key)
        assert (noted is None) == (record is None)
        if record is None or noted is None:
            return
        is_news = self.model.note(record, delivered, polled, terminal)
        record.is_as(noted)
        if is_news:
            self.model.spread(record, terminal)

    @rule(key=KEYS, reason=REASONS, meta=st.none() | METAS, named=st.sampled_from(["", GIVEN_JOB]), still=STILL)
    def want_deletion(self, key: str, reason: str, meta: bytes | None, named: str, still: Attention | None) -> None:
        job = None if meta is None else Record(key, "t", meta=meta, owner="c", job=named)
        wanted = self.run(self.store.want_deletion(key, reason=reason, job=job, still=still))
        now, record = self.clock.now, self.model.records.get(key)
        if record is None and meta is not None and still is None:
            record = self.model.records[key] = Expected("c", now, described=(key, 0, ""))
            self.model.done(record, meta)
            record.job = named or record.job
        assert (wanted is None) == (record is None)
        if record is None or wanted is None:
            return
        under_way = record.to_delete is not None and not record.aside
        if not under_way and not record.deleted and record.waits_for(still):
            record.to_delete, record.tries, record.aside = now, 0, False
            record.reason, record.changed = reason, now
        record.is_as(wanted)
        if record.deleted or record.to_delete is not None:
            self.model.delete(record.adopts)

    @rule(key=KEYS, hold=SPANS)
    def claim_deletion(self, key: str, hold: float) -> None:
        claimed = self.run(self.store.claim_deletion(key, hold=hold))
        now, record = self.clock.now, self.model.records.get(key)
        waits = record.waits() if record else None
        assert (claimed is not None) == (waits is not None and waits[0] is Attention.DELETE and waits[1] <= now)
        if record is not None and claimed is not None:
            record.to_delete, record.tries, record.changed = now + hold, record.tries + 1, now
            record.is_as(claimed)

    @rule(key=KEYS)
    def note_deleted(self, key: str) -> None:
        self.run(self.store.note_deleted(key))
        self.model.delete(key)

    @rule(key=KEYS, reason=REASONS, adopted_by=st.sampled_from(["", "", "k9"]), still=STILL)
    def set_aside(self, key: str, reason: str, adopted_by: str, still: Attention | None) -> None:
        record = self.model.records.get(key)
        judged = record is not None and record.waits_for(still)
        assert self.run(self.store.set_aside(key, reason=reason, adopted_by=adopted_by, still=still)) == judged
        if record is not None and judged:
            record.aside, record.reason, record.changed = True, reason, self.clock.now
            record.adopter = adopted_by or record.adopter

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        assert self.run(self.store.forget(key)) == (self.model.records.pop(key, None) is not None)

    # --- payloads, expiry

    @rule(key=KEYS, kind=KINDS, data=METAS, ttl=SPANS)
    def save(self, key: str, kind: Payload, data: bytes, ttl: float) -> None:
        self.run(self.store.save(key, kind, data, ttl=ttl))
        self.model.payloads[key, kind] = (self.clock.now + ttl, data)
        self.model.dropped.discard((key, kind))

    @rule(key=KEYS, kind=KINDS)
    def drop(self, key: str, kind: Payload) -> None:
        self.run(self.store.drop(key, kind))
        self.model.payloads.pop((key, kind), None)
        self.model.dropped.add((key, kind))

    @rule(older_than=SPANS, limit=st.sampled_from([1, 2, 1_000]))
    def expire(self, older_than: float, limit: int) -> None:
        """Called again while there may be more."""
        payloads, records = self.model.run_out(), self.model.aged(older_than)
        steps = [limit]
        while steps[-1] == limit:
            steps.append(self.run(self.store.expire(older_than=older_than, limit=limit)))
        assert max(steps) == limit
        surely = len(payloads) + len(records)
        assert surely <= sum(steps[1:]) <= surely + len(self.model.dropped)
        for at in payloads:
            del self.model.payloads[at]
        for key in records:
            del self.model.records[key]
        self.model.dropped.clear()

    # --- what every server sees

    @invariant()
    def all_is_found_as_it_should_be(self) -> None:
        self.run(self.look(self.store))

    async def look(self, store: Store) -> None:
        for key in KEY_NAMES:
            record, expected = await store.find(key), self.model.records.get(key)
            assert (record is None) == (expected is None)
            if record and expected:
                expected.is_as(record)
            for kind in KIND_NAMES:
                ends, data = self.model.payloads.get((key, kind), (0.0, b""))
                assert await store.load(key, kind) == (data if ends > self.clock.now else None)
        for job in JOBS:
            await self.look_for_job(store, job)
        for attention in (Attention.UNKNOWN, Attention.LOST, Attention.IDLE, Attention.DELETE):
            await self.look_for_waiting(store, attention)
        listed = sorted([record.key async for record in store.records()])
        assert listed == sorted(key for key, each in self.model.records.items() if each.tracked)

    async def look_for_job(self, store: Store, job: str) -> None:
        """One of those that changed last is found."""
        leads = {key: each.changed for key, each in self.model.records.items() if each.job == job and not each.adopter}
        record = await store.find_job(job)
        assert (record is None) == (not leads)
        assert record is None or leads[record.key] == max(leads.values())

    async def look_for_waiting(self, store: Store, attention: Attention) -> None:
        until = self.clock.now - 4.0
        waits = {key: each.waits() for key, each in self.model.records.items()}
        since = {key: wait[1] for key, wait in waits.items() if wait and wait[0] is attention and wait[1] <= until}
        records = await store.waiting(attention, older_than=4.0)
        assert {record.key for record in records} == since.keys()
        ordered = [since[record.key] for record in records]
        assert ordered == sorted(ordered)


EXAMPLES = {"memory": (100, 50), "memory, watched": (10, 30), "sqlite": (10, 30), "sqlite, two servers": (10, 30)}
"""How many histories, and how many steps each has; of the other stores, whose rules are the same, fewer."""


def test_any_history_is_as_the_model_says(make: Make, store_name: str) -> None:
    examples, steps = EXAMPLES.get(store_name, (5, 30))
    machine = type("Machine", (StoreMachine,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, report_multiple_bugs=False)
    )


Step = Callable[[Store], Awaitable[object]]

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda key, owner: lambda store: store.reserve(key, owner=owner, lease=4.0, task_type="t", subject={}),
        KEYS,
        OWNERS,
    ),
    st.builds(lambda key, owner, meta: lambda store: store.complete(key, owner=owner, meta=meta), KEYS, OWNERS, METAS),
    st.builds(lambda key, owner: lambda store: store.mark_unknown(key, owner=owner), KEYS, OWNERS),
    st.builds(lambda key, owner: lambda store: store.release(key, owner=owner), KEYS, OWNERS),
    st.builds(lambda key: lambda store: store.note(key, polled=True, terminal="FAILED"), KEYS),
    st.builds(lambda key: lambda store: store.want_deletion(key, reason="aborted"), KEYS),
    st.builds(lambda key: lambda store: store.claim_deletion(key, hold=4.0), KEYS),
    st.builds(lambda key: lambda store: store.forget(key), KEYS),
    st.builds(lambda key, kind, data: lambda store: store.save(key, kind, data, ttl=4.0), KEYS, KINDS, METAS),
    st.builds(lambda key, kind: lambda store: store.drop(key, kind), KEYS, KINDS),
    st.just(lambda store: store.expire(older_than=0.0)),
)
"""Changes: what is only read may be read before them."""


@given(steps=st.lists(STEPS, max_size=30))
@settings(max_examples=60)
def test_changes_that_share_a_transaction_answer_as_if_each_had_its_own(steps: list[Step]) -> None:
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
