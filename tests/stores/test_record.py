"""How a record is written down, and what a store finds it by."""

from __future__ import annotations

import base64
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._stores import Attention, Deletion, Delivery, Record, State, job_of
from connectors._stores.record import decode_record, encode_record

NAMES = {item.name for item in fields(Record)}
TEXT = st.text(max_size=20)
TIMES = st.floats(min_value=0, max_value=1e11)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "key": TEXT,
    "task_type": TEXT,
    "state": st.sampled_from(State),
    "fingerprint": TEXT,
    "meta": st.none() | st.binary(max_size=40),
    "version": st.integers(),
    "run": TEXT,
    "generation": st.integers(),
    "latest": st.integers(),
    "owner": TEXT,
    "lease_until": TIMES,
    "tracked": st.booleans(),
    "subject": st.dictionaries(TEXT, TEXT, max_size=3),
    "job": TEXT,
    "created": TIMES,
    "changed": TIMES,
    "done_at": TIMES,
    "delivery": st.sampled_from(Delivery),
    "asked_at": TIMES,
    "polled_at": TIMES,
    "terminal": TEXT,
    "terminal_at": TIMES,
    "deletion": st.sampled_from(Deletion),
    "delete_at": TIMES,
    "delete_tries": st.integers(),
    "reason": TEXT,
    "adopted_by": TEXT,
    "adopts": TEXT,
    "set_aside": st.booleans(),
    "more": st.dictionaries(TEXT.filter(lambda name: name not in NAMES), JSON, max_size=3),
}
KEYED = {"key": "k", "task_type": "t"}
RECORDS = st.builds(lambda members: Record(**members), st.fixed_dictionaries(MEMBERS))


# -------------------------------------------------------------------------------------------------------------- as JSON


@given(record=RECORDS)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    text = encode_record(record)
    assert decode_record(text) == record
    assert decode_record(text.encode("ascii")) == record


def test_the_property_above_draws_every_member() -> None:
    assert set(MEMBERS) == NAMES


def test_a_record_is_a_json_object_without_what_equals_its_default() -> None:
    record = Record("k", "t", State.DONE, meta=b"\x00job", changed=1.5, subject={"node": "n0"})
    assert json.loads(encode_record(record)) == {
        "key": "k",
        "task_type": "t",
        "state": "done",
        "meta": base64.b64encode(b"\x00job").decode(),
        "changed": 1.5,
        "subject": {"node": "n0"},
    }


def test_an_empty_meta_is_not_the_same_as_none() -> None:
    assert decode_record(encode_record(Record("k", "t", meta=b""))).meta == b""
    assert decode_record('{"key": "k", "task_type": "t", "meta": null}').meta is None


def test_what_is_not_written_has_its_default() -> None:
    assert decode_record('{"key": "k", "task_type": "t"}') == Record("k", "t")


def test_a_time_in_whole_seconds_is_a_time() -> None:
    created = decode_record('{"key": "k", "task_type": "t", "created": 7}').created
    assert (created, type(created)) == (7.0, float)


def test_members_of_a_newer_release_are_kept_beside_a_change_of_this_one() -> None:
    newer = '{"key":"k","task_type":"t","weight":[1,{"a":null}],"latest":1}'
    record = decode_record(newer)
    assert record.more == {"weight": [1, {"a": None}]}
    assert json.loads(encode_record(replace(record, latest=2))) == {**json.loads(newer), "latest": 2}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        b"\xff\xfe",
        b"\xc3\x28",
        "null",
        "7",
        '"key"',
        '["key", "task_type"]',
        "[]",
        "[{}]",
        "[" * 100_000,
        "{}",
        '{"key": "k"}',
        '{"task_type": "t"}',
        '{"key": 5, "task_type": "t"}',
        '{"key": null, "task_type": "t"}',
        '{"key": "k", "task_type": []}',
        '{"key": "k", "task_type": "t", "state": "almost"}',
        '{"key": "k", "task_type": "t", "state": ["done"]}',
        '{"key": "k", "task_type": "t", "delivery": "maybe"}',
        '{"key": "k", "task_type": "t", "deletion": true}',
        '{"key": "k", "task_type": "t", "meta": 5}',
        '{"key": "k", "task_type": "t", "meta": "a"}',
        '{"key": "k", "task_type": "t", "meta": "am9i\\n"}',
        '{"key": "k", "task_type": "t", "meta": "\\u00e9"}',
        '{"key": "k", "task_type": "t", "subject": "mine"}',
        '{"key": "k", "task_type": "t", "subject": {"node": 5}}',
        '{"key": "k", "task_type": "t", "version": 1.5}',
        '{"key": "k", "task_type": "t", "version": true}',
        '{"key": "k", "task_type": "t", "tracked": 1}',
        '{"key": "k", "task_type": "t", "changed": "now"}',
        '{"key": "k", "task_type": "t", "changed": false}',
        '{"key": "k", "task_type": "t", "changed": 1' + "0" * 400 + "}",
        '{"key": "k", "task_type": "t", "run": null}',
    ],
)
def test_a_text_that_is_no_record_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_record(text)


@given(
    value=JSON | st.dictionaries(st.sampled_from(sorted(NAMES - {"more"})), JSON).map(lambda found: {**KEYED, **found})
)
def test_any_json_is_a_record_or_is_refused(value: object) -> None:
    try:
        record = decode_record(json.dumps(value))
    except ValueError:
        return
    assert decode_record(encode_record(record)) == record


# ---------------------------------------------------------------------------------------------------- what it waits for

TRACKED = Record("k", "t", tracked=True, changed=9.0, created=1.0)
UNKNOWN = replace(TRACKED, state=State.UNKNOWN)
DONE = replace(TRACKED, state=State.DONE, job="j", done_at=2.0)
LOST = replace(DONE, delivery=Delivery.LOST)


@pytest.mark.parametrize(
    ("record", "attention", "since"),
    [
        (TRACKED, Attention.UNKNOWN, 9.0),
        (UNKNOWN, Attention.UNKNOWN, 9.0),
        (DONE, Attention.IDLE, 2.0),
        (replace(DONE, delivery=Delivery.DELIVERED), Attention.IDLE, 2.0),
        (replace(DONE, asked_at=3.0, polled_at=5.0), Attention.IDLE, 5.0),
        (replace(DONE, polled_at=1.0), Attention.IDLE, 2.0),
        (LOST, Attention.LOST, 9.0),
        (replace(TRACKED, deletion=Deletion.WANTED, delete_at=20.0), Attention.UNKNOWN, 9.0),
        (replace(UNKNOWN, deletion=Deletion.WANTED, delete_at=20.0), Attention.UNKNOWN, 9.0),
        (replace(DONE, deletion=Deletion.WANTED, delete_at=20.0, tracked=False), Attention.DELETE, 20.0),
        (replace(DONE, adopts="k0"), Attention.IDLE, 2.0),
        (replace(LOST, asked_at=3.0, polled_at=3.0), Attention.IDLE, 3.0),
        (replace(DONE, deletion=Deletion.WANTED, delete_at=20.0), Attention.DELETE, 20.0),
        (replace(LOST, deletion=Deletion.WANTED, delete_at=20.0, terminal="SUCCEEDED"), Attention.DELETE, 20.0),
        (replace(DONE, deletion=Deletion.WANTED, delete_at=20.0, adopted_by="k2"), Attention.DELETE, 20.0),
    ],
)
def test_a_record_waits_for_attention_since(record: Record, attention: Attention, since: float) -> None:
    assert (record.indexed().attention, record.indexed().since) == (attention, since)
    assert record.attention() is attention
    assert record.attention() is not Attention.NONE


@pytest.mark.parametrize(
    "record",
    [
        replace(TRACKED, state=State.TAKEN),
        replace(DONE, deletion=Deletion.DONE),
        replace(LOST, deletion=Deletion.DONE),
        replace(UNKNOWN, deletion=Deletion.DONE),
        replace(DONE, terminal="FAILED"),
        replace(LOST, terminal="FAILED"),
        replace(LOST, set_aside=True),
        replace(DONE, deletion=Deletion.WANTED, set_aside=True),
        replace(UNKNOWN, set_aside=True),
        replace(UNKNOWN, deletion=Deletion.WANTED, set_aside=True),
        replace(TRACKED, state=State.TAKEN, deletion=Deletion.WANTED, delete_at=20.0),
        replace(TRACKED, tracked=False, deletion=Deletion.WANTED, delete_at=20.0),
        replace(DONE, adopted_by="k2"),
        replace(TRACKED, tracked=False),
        replace(LOST, tracked=False),
    ],
)
def test_a_record_that_nothing_more_is_to_be_done_about_waits_for_nothing(record: Record) -> None:
    assert record.indexed().attention is Attention.NONE
    assert record.attention() is Attention.NONE


def test_a_job_leads_to_its_record_until_another_attempt_took_it_over() -> None:
    assert DONE.indexed().job == "j"
    assert replace(DONE, adopts="k0").indexed().job == "j"
    assert replace(DONE, adopted_by="k2").indexed().job == ""


def test_jobs_differ_by_task_type_version_and_meta_and_never_run_into_one_another() -> None:
    jobs = [
        job_of("t", 0, b"meta"),
        job_of("t", 1, b"meta"),
        job_of("u", 0, b"meta"),
        job_of("t", 0, b"met"),
        job_of("t", 0, b""),
        job_of("t", 1, b"0\0meta"),
        job_of("t", 10, b"\0meta"),
    ]
    assert len(set(jobs)) == len(jobs)
    assert {len(job) for job in jobs} == {64}
    assert job_of("t", 0, b"meta") == jobs[0]
