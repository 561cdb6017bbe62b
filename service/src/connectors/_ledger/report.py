"""All that is known of one job, as lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator

from connectors._ledger.entry import Entry, age_text, instant_text
from connectors._ledger.fates import Fate
from connectors._stores import Deletion
from connectors._tables import printable

__all__ = ["report"]


def report(entry: Entry) -> str:
    """A line for each fact: its name, and what is known."""
    facts = [*_facts(entry)]
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"{name:<{width}}  {printable(text)}" for name, text in facts)


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    record = entry.record
    yield "key", record.key
    yield "task type", f"{record.task_type} in version {record.version}"
    yield "fate", f"{entry.fate.value}{', an orphan' if entry.is_orphan else ''}"
    if record.reason:
        yield "reason", record.reason
    if record.adopted_by:
        yield "adopted by", record.adopted_by
    for name, value in record.subject.items():
        if value:
            yield name.replace("_", " "), value
    yield "attempt", entry.attempt or "-"
    latest = max(record.latest, record.generation)
    yield "generation", f"{record.generation}{f'; the latest is {latest}' if latest > record.generation else ''}"
    if record.run not in {"", record.key}:
        yield "first run", record.run
    yield "create", record.state.value
    if record.lease_until:
        yield "held by", f"{record.owner} until {_at(entry, record.lease_until)}"
    yield "answer", record.delivery.value or "not known to have been heard"
    if record.deletion is not Deletion.NONE:
        yield "deletion", f"{record.deletion.value}, {record.delete_tries} tries"
    if entry.fate is Fate.CANCELLING:
        yield "next try", _at(entry, record.delete_at)
    if record.meta is not None:
        meta = entry.meta()
        yield "meta", json.dumps(meta) if meta is not None else f"{len(record.meta)} bytes that are no JSON"
    for event in entry.history():
        yield instant_text(event.at), f"{event.text}, {_ago(entry, event.at)}"


def _at(entry: Entry, instant: float) -> str:
    return f"{instant_text(instant)}, {_ago(entry, instant)}"


def _ago(entry: Entry, instant: float) -> str:
    age = entry.age_of(instant)
    return f"in {age_text(-age)}" if age < 0 else f"{age_text(age)} ago"
