"""What the page shows, as cells of text. The server writes them as HTML, and the page's script as nodes of a document:
what is said, and in which words, is decided here alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from connectors.secrets import redact

if TYPE_CHECKING:
    from connectors._engine.engine import Engine
    from connectors._engine.options import EngineOptions
    from connectors._observability.status_page.recent_calls import RecentCall, RecentCalls
    from connectors._registry import Registered

__all__ = [
    "TABLES",
    "Cell",
    "Heading",
    "Row",
    "Tone",
    "age",
    "call_rows",
    "cell",
    "clock",
    "connector_rows",
    "moment",
    "shielded_rows",
    "total",
]

Tone = Literal["ok", "warn", "bad", "quiet"]


class Cell(TypedDict):
    """A text, and what it is beside that. A tone is a colour: the text says the same without it."""

    text: str
    tone: NotRequired[Tone]
    note: NotRequired[str]
    """What is said beside it, in plain letters."""
    link: NotRequired[str]
    title: NotRequired[str]
    """What is shown to whoever points at it."""


class Row(TypedDict):
    """A row of a table. Its key is the same for as long as it is the same thing."""

    key: str
    cells: list[Cell]


@dataclass(frozen=True)
class Heading:
    """A table's own words."""

    title: str
    empty: str
    """What is said where there are no rows."""
    columns: tuple[str, ...]


_CALL = ("Time (UTC)", "Operation", "Task type", "Answer", "Duration", "Tries", "Fault", "Task or key", "Job")

TABLES: Mapping[str, Heading] = {
    "shielded": Heading(
        "Platforms that cannot be asked",
        "Every platform answers.",
        ("Task type", "Jobs", "Since (UTC)", "Last fault"),
    ),
    "connectors": Heading(
        "Connectors",
        "No connector is served.",
        ("Task type", "Plugin", "Kind", "State", "In flight", "Calls", "Queue", "Threads", "Tries", "Retries"),
    ),
    "faults": Heading("Last faults", "No call has met a fault.", _CALL),
    "calls": Heading("Last calls", "No calls yet.", _CALL),
}


def cell(text: object, *, tone: Tone | None = None, note: str = "", link: str = "", title: str = "") -> Cell:
    """A cell, with no secret in it."""
    made = Cell(text=redact(str(text)))
    if tone is not None:
        made["tone"] = tone
    if note:
        made["note"] = redact(note)
    if link and redact(link) == link:  # without what is hidden it would lead nowhere
        made["link"] = link
    if title:
        made["title"] = redact(title)
    return made


def age(seconds: float) -> str:
    """A time that passed, in its two largest units."""
    whole = int(seconds)
    for size, name, smaller, smaller_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // smaller} {smaller_name}"
    return f"{whole} s"


def total(engine: Engine | None) -> int:
    """The calls under way."""
    return sum(engine.in_flight.values()) if engine else 0


def connector_rows(engine: Engine | None, options: EngineOptions) -> Iterator[Row]:
    """What is served, by task type, and before it what could not be loaded."""
    if engine is None:
        return
    for number, failure in enumerate(engine.registry.failures):
        failed = cell("failed", tone="bad", note=failure.reason)
        plugin = cell(" · ".join(filter(None, (failure.plugin, failure.distribution))))
        yield Row(key=f"failure {number}", cells=[cell(""), plugin, cell(""), failed, *[cell("")] * 6])
    under_way: dict[str, list[str]] = {}
    for (task_type, operation), calls in sorted(engine.in_flight.items()):
        if calls:
            under_way.setdefault(task_type, []).append(f"{calls} {operation}")
    lines, threads, paused = engine.admission, engine.threads, engine.paused
    for item in engine.registry:
        name = item.category.name
        limits, line, use = options.limits_for(name), lines[name], threads.get(name)
        yield Row(
            key=str(item.category),
            cells=[
                cell(item.category),
                cell(_source(item)),
                cell(item.kind),
                cell("paused", tone="warn", note="nothing new is begun") if paused[name] else cell("served", tone="ok"),
                cell(", ".join(under_way.get(name, ()))),
                _share(line.taken, line.limit),
                _share(line.waiting, limits.queue),
                _share(use.busy if use else 0, limits.threads),
                cell(f"up to {limits.attempts}"),
                cell(f"{limits.retry_budget:g}/s"),
            ],
        )


def shielded_rows(engine: Engine | None, recent: RecentCalls, *, now: float) -> Iterator[Row]:
    """The task types whose polls meet a fault.

    :param now: seconds since 1970.
    """
    for task_type, standing in sorted(engine.standing_faults.items()) if engine else ():
        last = recent.hidden.get(task_type)
        yield Row(
            key=task_type,
            cells=[
                cell(task_type),
                cell(standing.jobs),
                cell(f"{clock(now - standing.age, now)} ({age(standing.age)})", title=moment(now - standing.age)),
                _fault(last) if last else cell(""),
            ],
        )


def call_rows(calls: Iterable[RecentCall], *, now: float) -> Iterator[Row]:
    """A row a call.

    :param now: seconds since 1970.
    """
    for call in calls:
        yield Row(
            key=str(call.number),
            cells=[
                cell(clock(call.ended, now, thousandths=True), title=moment(call.ended)),
                cell(call.operation),
                cell(call.task_type),
                _answer(call),
                cell(_duration(call.seconds)),
                cell("repeated" if call.repeated else call.attempts or ""),
                _fault(call),
                cell(call.execution or call.key, title=f"key {call.key}" if call.key else ""),
                cell("open" if call.link else "", link=call.link),
            ],
        )


def _answer(call: RecentCall) -> Cell:
    if call.shielded:
        return cell(call.phase, tone="warn", note="from memory") if call.phase else cell("put off", tone="warn")
    if call.status != "OK":
        return cell(call.status, tone="quiet" if call.status == "CANCELLED" else "bad")
    failed = call.phase in ("FAILED", "RETRYABLE_FAILED", "ABORTED")
    return cell(call.phase or "OK", tone="warn" if failed else "ok")


def _fault(call: RecentCall) -> Cell:
    if not call.error:
        return cell("")
    text = f"{call.error}: {call.message}" if call.message else call.error
    return cell(text, title=f"error id {call.error_id}" if call.error_id else "")


def _share(taken: int, limit: int) -> Cell:
    return cell(f"{taken:,} of {limit:,}", tone="warn" if taken and taken >= limit else None)


def _source(item: Registered) -> str:
    return " ".join(filter(None, (item.distribution or item.plugin, item.distribution_version)))


def _duration(seconds: float) -> str:
    if seconds >= 0.9995:
        return f"{seconds:.2f} s"
    return f"{seconds * 1_000:.{1 if seconds < 0.00995 else 0}f} ms"


def moment(at: float) -> str:
    """A time, given in seconds since 1970, in full (RFC 3339, UTC)."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(at: float, now: float, *, thousandths: bool = False) -> str:
    """The time of day, and the day where it is not today."""
    full = moment(at)
    day, time = full[:10], full[11:23] if thousandths else full[11:19]
    return time if day == moment(now)[:10] else f"{day} {time}"
