"""What the ledger answers and does, over a store whose clock stands still until it is moved."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from connectors._engine.options import EngineOptions
from connectors._ledger import Entry, Fate, Filter, Ledger, LedgerError, open_ledger
from connectors._ledger.entry import age_text, instant_text
from connectors._ledger.report import report
from connectors._stores import Attention, Deletion, Record
from connectors._stores.memory import MemoryStore

pytestmark = pytest.mark.anyio
SUBJECT = {
    "project": "sales",
    "domain": "production",
    "name": "daily",
    "execution": "f3a1",
    "node": "n0",
    "output_prefix": "s3://data/metadata/f3a1/n0/data/2",
    "protocol": "flyte1",
}


def key(number: int) -> str:
    return str(UUID(int=number << 64))


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock, anyio_backend: str) -> AsyncIterator[MemoryStore]:
    store = MemoryStore(clock=clock)
    await store.start()
    yield store
    await store.aclose()


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    return Ledger(store, EngineOptions())


async def reserved(store: MemoryStore, number: int, task_type: str = "query") -> str:
    await store.reserve(key(number), owner="server-1", lease=8.0, task_type=task_type, subject=SUBJECT)
    return key(number)


async def made(store: MemoryStore, number: int, task_type: str = "query", meta: bytes = b'{"job":1}') -> str:
    await reserved(store, number, task_type)
    await store.complete(key(number), owner="server-1", meta=meta)
    return key(number)


async def keys(ledger: Ledger, wanted: Filter | None = None, limit: int = 0) -> list[str]:
    entries, _ = await ledger.newest(wanted or Filter(), limit)
    return [entry.record.key for entry in entries]


# --- listing


async def test_the_newest_job_comes_first(store: MemoryStore, clock: Clock, ledger: Ledger) -> None:
    for number in (2, 1, 3):
        await made(store, number)
        clock.now += 1
    assert await keys(ledger) == [key(3), key(1), key(2)]


async def test_a_limit_keeps_the_newest_and_tells_that_there_are_more(
    store: MemoryStore, clock: Clock, ledger: Ledger
) -> None:
    for number in range(1, 6):
        await made(store, number)
        clock.now += 1
    await store.note(key(1), polled=True)  # what changed last is not what is newest
    entries, more = await ledger.newest(Filter(), 2)
    assert ([entry.record.key for entry in entries], more) == ([key(5), key(4)], True)
    assert (await ledger.newest(Filter(), 5))[1] is False


async def test_a_job_that_comes_twice_is_listed_once_as_it_is_now(clock: Clock) -> None:
    class Twice(MemoryStore):
        async def records(self) -> AsyncIterator[Record]:
            async for record in super().records():
                yield record
                after = await self.note(record.key, terminal="SUCCEEDED")
                assert after is not None
                yield after

    store = Twice(clock=clock)
    for number in (1, 2, 3, 4):
        await made(store, number)
        clock.now += 1
    entries, _ = await Ledger(store, EngineOptions()).newest(Filter(), 2)
    assert [(entry.record.key, entry.fate) for entry in entries] == [
        (key(4), Fate.SUCCEEDED),
        (key(3), Fate.SUCCEEDED),
    ]


async def test_a_lock_that_is_no_job_is_not_listed_and_not_found(store: MemoryStore, ledger: Ledger) -> None:
    await store.reserve(key(1), owner="server-1", lease=8.0, task_type="talk")
    assert await keys(ledger) == []
    with pytest.raises(LedgerError, match="no job has the key"):
        await ledger.find(key(1))


async def test_jobs_are_chosen_by_fate_task_type_and_being_orphans(
    store: MemoryStore, clock: Clock, ledger: Ledger
) -> None:
    await made(store, 1)
    await store.note(key(1), delivered=False)
    clock.now += 600
    await made(store, 2)
    await made(store, 3, task_type="other")
    await store.note(key(2), delivered=False)
    assert await keys(ledger, Filter(fate=Fate.UNHEARD)) == [key(2), key(1)]
    assert await keys(ledger, Filter(orphans=True)) == [key(1)]
    assert await keys(ledger, Filter(task_type="other")) == [key(3)]
    assert await keys(ledger, Filter(fate=Fate.RUNNING, task_type="query")) == []


# --- finding one


async def test_the_start_of_a_key_is_enough_where_it_is_one_jobs(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1 << 40)
    await made(store, 2 << 40)
    for text in (key(1 << 40), key(1 << 40)[:8], f"  {key(1 << 40)[:13].upper()} "):
        assert (await ledger.find(text)).record.key == key(1 << 40)


async def test_the_start_of_several_keys_is_refused_with_some_of_them(store: MemoryStore, ledger: Ledger) -> None:
    for number in range(6):
        await made(store, number)
    with pytest.raises(LedgerError, match=f"^00000000 is the start of 6 keys: {key(0)}, .*{key(3)} and 2 more$"):
        await ledger.find("00000000")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0000000", "a job is named by its key, or by 8 characters or more of its start"),
        ("", "a job is named by its key, or by 8 characters or more of its start"),
        ("f0000000", "no job has the key 'f0000000'"),
        (key(9), f"no job has the key '{key(9)}'"),
    ],
)
async def test_what_names_no_job_is_refused(store: MemoryStore, ledger: Ledger, text: str, said: str) -> None:
    await made(store, 1)
    with pytest.raises(LedgerError, match=f"^{re.escape(said)}$"):
        await ledger.find(text)


# --- deciding


async def test_an_adopted_job_is_never_judged_again(store: MemoryStore, clock: Clock, ledger: Ledger) -> None:
    await made(store, 1)
    await store.note(key(1), delivered=False)
    said = await ledger.adopt(key(1), reason=" the  on-call\nlooks at it ")
    assert said == f"{key(1)} is set aside: it is not reported, and not cancelled as an orphan"
    clock.now += 86_400
    entry = await ledger.find(key(1))
    assert (entry.fate, entry.is_orphan) == (Fate.SET_ASIDE, False)
    assert entry.record.reason == "a person answers for this job: the on-call looks at it"
    assert [await store.waiting(attention, older_than=0.0) for attention in Attention] == [[]] * len(Attention)


async def test_adopting_a_job_gives_its_cancellation_up(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1)
    await ledger.cancel(key(1))
    assert (await ledger.adopt(key(1))).endswith("; no further try is made to cancel it")
    assert await store.claim_deletion(key(1), hold=60.0) is None
    assert (await ledger.find(key(1))).fate is Fate.SET_ASIDE


async def test_a_cancelled_job_is_left_to_a_server_with_the_reason(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1)
    said = await ledger.cancel(key(1), reason="too dear")
    assert said == f"{key(1)} is to be cancelled by any server of this store: next try now"
    taken = await store.claim_deletion(key(1), hold=60.0)
    assert taken is not None
    assert taken.reason == "cancelled by a person: too dear"


async def test_a_cancellation_under_way_is_told_with_its_tries_and_its_next(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1)
    await ledger.cancel(key(1), reason="first")
    await store.claim_deletion(key(1), hold=60.0)
    said = await ledger.cancel(key(1), reason="second")
    assert said.endswith(": next try in 60s, at 2023-11-14T22:14:20Z, after 1 that failed")
    assert (await ledger.find(key(1))).record.reason == "cancelled by a person: first"


async def test_a_cancellation_that_was_given_up_is_begun_again(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1)
    await ledger.cancel(key(1))
    await store.set_aside(key(1), reason="no access")
    assert (await ledger.find(key(1))).fate is Fate.GIVEN_UP
    await ledger.cancel(key(1))
    assert await store.claim_deletion(key(1), hold=60.0) is not None


async def test_a_create_that_is_not_over_can_be_cancelled_and_says_what_that_means(
    store: MemoryStore, ledger: Ledger
) -> None:
    await reserved(store, 1)
    assert "which job that is will be known only when its create is over" in await ledger.cancel(key(1))
    await store.complete(key(1), owner="server-1", meta=b"{}")
    assert (await ledger.find(key(1))).fate is Fate.CANCELLING


async def test_a_cancelled_job_was_cancelled_before(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1)
    await ledger.cancel(key(1))
    await store.note_deleted(key(1))
    assert await ledger.cancel(key(1)) == f"{key(1)} was cancelled before"


async def test_what_is_over_is_neither_adopted_nor_cancelled(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1)
    await store.note(key(1), terminal="FAILED")
    await made(store, 2)
    await store.set_aside(key(2), reason="taken over", adopted_by=key(3))
    await reserved(store, 4)
    await store.mark_taken(key(4), owner="server-1")
    for number, told in ((1, "failed"), (2, f"adopted by {key(3)}"), (4, "taken")):
        with pytest.raises(LedgerError, match=f"^{key(number)} is {told}: there is nothing to answer for$"):
            await ledger.adopt(key(number))
        with pytest.raises(LedgerError, match=f"^{key(number)} is {told}: there is nothing to cancel$"):
            await ledger.cancel(key(number))
    assert (await ledger.find(key(1))).record.deletion is Deletion.NONE


async def test_a_decision_about_a_job_that_changed_meanwhile_changes_nothing(clock: Clock) -> None:
    class Ending(MemoryStore):
        async def find(self, key: str) -> Record | None:
            seen = await super().find(key)
            await self.note(key, terminal="SUCCEEDED")
            return seen

    for decide in (Ledger.adopt, Ledger.cancel):
        store = Ending(clock=clock)
        await made(store, 1)
        with pytest.raises(LedgerError, match="changed at this very moment"):
            await decide(Ledger(store, EngineOptions()), key(1))
        record = await store.find(key(1))
        assert record is not None
        assert (record.deletion, record.set_aside) == (Deletion.NONE, False)


async def test_a_job_that_may_be_running_is_forgotten_by_force_alone(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1)
    with pytest.raises(LedgerError, match="a repeat of its create may make a second job"):
        await ledger.forget(key(1))
    assert await ledger.forget(key(1), force=True) == f"{key(1)} is forgotten"
    assert await store.find(key(1)) is None


async def test_a_job_that_is_over_is_forgotten(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1)
    await store.note(key(1), terminal="SUCCEEDED")
    assert await ledger.forget(key(1)) == f"{key(1)} is forgotten"
    assert await store.find(key(1)) is None


# --- what is shown


async def test_the_owner_and_the_attempt_are_read_off_the_subject(store: MemoryStore, ledger: Ledger) -> None:
    await made(store, 1)
    entry = await ledger.find(key(1))
    assert (entry.owner, entry.attempt) == ("sales/production/f3a1/n0", "2")


@pytest.mark.parametrize(
    ("subject", "attempt"),
    [({}, ""), ({"retry": "1"}, "1"), ({"output_prefix": "s3://b/a/3/"}, "3"), ({"output_prefix": "4"}, "4")],
)
async def test_an_attempt_is_the_prefixs_last_segment_or_the_retry(subject: dict[str, str], attempt: str) -> None:
    assert Entry(Record("k", "t", subject=subject), 0.0, EngineOptions()).attempt == attempt


async def test_the_history_is_told_in_its_order(store: MemoryStore, clock: Clock, ledger: Ledger) -> None:
    await reserved(store, 1)
    clock.now += 1
    await store.complete(key(1), owner="server-1", meta=b"{}")
    clock.now += 1
    await store.note(key(1), polled=True)
    clock.now += 3_600
    await store.note(key(1), polled=True)
    clock.now += 1
    await store.note(key(1), terminal="SUCCEEDED")
    entry = await ledger.find(key(1))
    assert [(event.name, event.at - 1_700_000_000) for event in entry.history()] == [
        ("created", 0.0),
        ("made", 1.0),
        ("first_poll", 2.0),
        ("last_poll", 3_602.0),
        ("terminal", 3_603.0),
        ("changed", 3_603.0),
    ]


@pytest.mark.parametrize("meta", [b"\x00\xff", b"{cut", b"[NaN]", b"[" * 100_000])
async def test_a_meta_that_is_no_json_is_shown_as_bytes(store: MemoryStore, ledger: Ledger, meta: bytes) -> None:
    await made(store, 1, meta=meta)
    entry = await ledger.find(key(1))
    shown = entry.as_json()
    assert shown["meta"] is None
    assert shown["meta_base64"]
    assert f"{len(meta)} bytes that are no JSON" in report(entry)


async def test_the_report_holds_no_line_or_control_character_of_a_caller(store: MemoryStore, ledger: Ledger) -> None:
    subject = {"project": "a\nkey  forged", "domain": "\x1b[2J\u202e"}
    await store.reserve(key(1), owner="s", lease=8.0, task_type="t", subject=subject)
    text = report(await ledger.find(key(1)))
    assert "project" in text
    assert not any(line.startswith("key  forged") for line in text.splitlines())
    assert not {"\x1b", "\u202e"} & set(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (7_199, "119m"),
        (7_200, "2h"),
        (172_800, "2d"),
        (1e6, "11d"),
    ],
)
def test_an_age_is_in_one_unit_rounded_down(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_an_instant_is_iso_8601_in_utc() -> None:
    assert instant_text(1_700_000_000.9) == "2023-11-14T22:13:20Z"


# --- stores that cannot be looked into


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory://", "what memory:// keeps is in the server's own memory"),
        ("oracle://me:hunter2@db/x", "no store is known for oracle://"),
        ("sqlite:///no/such.db", "there is no file /no/such.db: no server has kept its records there"),
        ("redis://:hunter2@127.0.0.1:1/0", "--store: "),
        ("postgresql://me:hunter2@127.0.0.1:1/x", "--store: "),
    ],
)
async def test_a_store_that_cannot_be_looked_into_is_one_line_without_its_password(url: str, said: str) -> None:
    with pytest.raises(LedgerError) as caught:
        async with open_ledger(url, EngineOptions()):
            pass
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_file_that_is_another_programs_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no database", "utf-8")
    with pytest.raises(LedgerError, match=r"^--store: .*notes"):
        async with open_ledger(f"sqlite://{tmp_path}/notes", EngineOptions()):
            pass
