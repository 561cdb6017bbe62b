"""The fate of every record, and which fates make an orphan."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from connectors._engine.options import EngineOptions
from connectors._ledger.fates import CLAIMED, MAY_RUN, Fate, fate_of, is_orphan
from connectors._stores import Attention, Deletion, Delivery, Record, State
from connectors.models import Phase

NOW = 1_700_000_000.0
OPTIONS = EngineOptions(orphan_after=600.0, unpolled_after=7_200.0)
MADE = Record(
    "k", "t", State.DONE, meta=b"{}", tracked=True, created=NOW - 60, done_at=NOW - 59, changed=NOW - 59, polled_at=0.0
)
HEARD = replace(MADE, delivery=Delivery.DELIVERED)
WANTED: dict[str, Any] = {"deletion": Deletion.WANTED, "delete_at": NOW + 5}

CASES: list[tuple[Fate, Record]] = [
    (Fate.CREATING, Record("k", "t", tracked=True, lease_until=NOW + 1)),
    (Fate.UNKNOWN, Record("k", "t", tracked=True, lease_until=NOW)),
    (Fate.UNKNOWN, Record("k", "t", State.UNKNOWN, tracked=True)),
    (Fate.TAKEN, Record("k", "t", State.TAKEN, tracked=True)),
    (Fate.RUNNING, MADE),
    (Fate.RUNNING, HEARD),
    (Fate.RUNNING, replace(MADE, delivery=Delivery.LOST, asked_at=NOW - 9, polled_at=NOW - 9)),
    (Fate.UNHEARD, replace(MADE, delivery=Delivery.LOST)),
    (Fate.UNPOLLED, replace(HEARD, done_at=NOW - 7_200)),
    (Fate.RUNNING, replace(HEARD, done_at=NOW - 9_000, polled_at=NOW - 7_199)),
    (Fate.UNPOLLED, replace(HEARD, done_at=NOW - 9_000, set_aside=True, reason="not polled for 2 h")),
    (Fate.SET_ASIDE, replace(HEARD, done_at=NOW - 9_000, set_aside=True, reason=f"{CLAIMED}: the on-call")),
    (Fate.SUCCEEDED, replace(HEARD, terminal="SUCCEEDED")),
    (Fate.FAILED, replace(HEARD, terminal="FAILED")),
    (Fate.RETRYABLE_FAILED, replace(HEARD, terminal="RETRYABLE_FAILED")),
    (Fate.ABORTED, replace(HEARD, terminal="ABORTED")),
    (Fate.ENDED, replace(HEARD, terminal="PAUSED_FOR_EVER")),
    (Fate.SUCCEEDED, replace(HEARD, terminal="SUCCEEDED", set_aside=True, reason=CLAIMED)),
    (Fate.SUCCEEDED, replace(HEARD, terminal="SUCCEEDED", deletion=Deletion.DONE)),
    (Fate.CANCELLED, replace(HEARD, terminal="ABORTED", deletion=Deletion.DONE)),
    (Fate.CANCELLED, replace(HEARD, deletion=Deletion.DONE)),
    (Fate.CANCELLING, replace(HEARD, **WANTED)),
    (Fate.CANCELLING, replace(HEARD, **WANTED, terminal="FAILED")),
    (Fate.CANCELLING, Record("k", "t", State.UNKNOWN, tracked=True, **WANTED)),
    (Fate.GIVEN_UP, replace(HEARD, **WANTED, set_aside=True, reason="no access")),
    (Fate.SET_ASIDE, replace(HEARD, **WANTED, set_aside=True, reason=CLAIMED)),
    (Fate.ADOPTED, replace(HEARD, adopted_by="next", set_aside=True, reason="taken over")),
    (Fate.ADOPTED, replace(HEARD, adopted_by="next", set_aside=True, terminal="SUCCEEDED")),
]


@pytest.mark.parametrize(("fate", "record"), CASES)
def test_a_record_has_its_fate(fate: Fate, record: Record) -> None:
    assert fate_of(record, NOW, OPTIONS) is fate


def test_every_fate_is_some_records() -> None:
    assert {fate for fate, _ in CASES} == set(Fate)


def test_every_terminal_phase_is_a_fate_of_its_own() -> None:
    fates = [fate_of(replace(HEARD, terminal=phase.name), NOW, OPTIONS) for phase in Phase if phase.is_terminal]
    assert len(set(fates)) == len(fates) == 4
    assert Fate.ENDED not in fates


def every_record() -> list[Record]:
    choices: dict[str, list[Any]] = {
        "state": [*State],
        "delivery": [*Delivery],
        "deletion": [*Deletion],
        "terminal": ["", "SUCCEEDED", "ABORTED"],
        "adopted_by": ["", "next"],
        "set_aside": [False, True],
        "reason": ["", CLAIMED],
        "lease_until": [0.0, NOW + 1],
        "asked_at": [0.0, NOW - 1],
    }
    return [replace(MADE, **dict(zip(choices, values, strict=True))) for values in product(*choices.values())]


def test_what_a_server_still_works_at_may_be_running() -> None:
    judged = [record for record in every_record() if record.attention() is not Attention.NONE]
    assert {fate_of(record, NOW, OPTIONS) for record in judged} <= MAY_RUN


def test_what_is_over_is_no_orphan() -> None:
    later = NOW + 10 * 86_400
    over = [record for record in every_record() if fate_of(record, later, OPTIONS) not in MAY_RUN]
    assert not any(is_orphan(record, later, OPTIONS) for record in over)


@pytest.mark.parametrize(
    ("record", "after"),
    [
        (replace(MADE, delivery=Delivery.LOST, done_at=NOW), 600.0),
        (Record("k", "t", State.UNKNOWN, tracked=True, changed=NOW), 600.0),
        (Record("k", "t", tracked=True, lease_until=NOW + 8, changed=NOW), 600.0),
        (replace(HEARD, done_at=NOW), 7_200.0),
        (replace(HEARD, done_at=NOW - 3_600, polled_at=NOW), 7_200.0),
    ],
)
def test_a_job_is_an_orphan_from_its_time_on(record: Record, after: float) -> None:
    assert not is_orphan(record, NOW + after - 1, OPTIONS)
    assert is_orphan(record, NOW + after, OPTIONS)


@pytest.mark.parametrize(("fate", "record"), [case for case in CASES if case[0] is Fate.GIVEN_UP])
def test_a_job_that_could_not_be_cancelled_is_an_orphan_at_once(fate: Fate, record: Record) -> None:
    assert is_orphan(record, NOW, OPTIONS)


@pytest.mark.parametrize(
    "record", [record for fate, record in CASES if fate in {Fate.CREATING, Fate.RUNNING, Fate.SET_ASIDE}]
)
def test_a_job_that_somebody_answers_for_is_no_orphan(record: Record) -> None:
    assert not is_orphan(record, NOW, OPTIONS)
