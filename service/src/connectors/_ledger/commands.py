"""The commands ``connectors jobs``: list, show, adopt, cancel, forget."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from connectors._ledger.entry import Entry, age_text
from connectors._ledger.fates import Fate
from connectors._ledger.ledger import Filter, Ledger, LedgerError, open_ledger
from connectors._settings import Settings, load
from connectors._settings.flags import with_settings

__all__ = ["jobs"]

T = TypeVar("T")

_ABOUT_LEDGER = frozenset({"config", "store", "orphan_after", "unpolled_after"})
_SHOWN_KEY = 13  # characters, which name one job of a great many; only where people look
_FATES = f"{', '.join([each.value for each in Fate][:-1])} or {[*Fate][-1].value} jobs"

Key = Annotated[str, typer.Argument(metavar="KEY", help="The job's key, or 8 characters or more of its start.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

jobs = typer.Typer(
    name="jobs",
    help="The ledger: every external job that the store knows, whose it is, and what has become of it.",
    no_args_is_help=True,
)


def _list(
    flags: dict[str, Any],
    fate: Annotated[Fate | None, typer.Option(metavar="FATE", help=f"Only {_FATES}.", show_default=False)] = None,
    task_type: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only jobs of this task type.", show_default=False)
    ] = None,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Only jobs that may be running with nobody left to ask for them.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="How many at the most; 0 is all.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the external jobs, the newest first.

    An orphan is a job whose answer has reached nobody, or whose create has had no known outcome, for --orphan-after
    seconds; one that nobody has polled for --unpolled-after seconds; or one that could not be cancelled. A server goes
    by its own settings.

    As JSON: an object with "jobs", each as show has it, and "more": whether --limit left some out.
    """
    settings = load(flags)
    wanted = Filter(fate, task_type, orphans)
    entries, more = _on_ledger(settings, lambda ledger: ledger.newest(wanted, limit))
    if as_json:
        print(json.dumps({"jobs": [entry.as_json() for entry in entries], "more": more}, indent=2))
    else:
        _print_list(settings, entries, is_narrowed=wanted != Filter())
        if more:
            typer.echo(f"connectors: these are the newest {len(entries)}; --limit shows more", err=True)


def _show(flags: dict[str, Any], key: Key, as_json: AsJson = False) -> None:
    """Show all that is known of one job."""
    from connectors._ledger.report import report

    entry = _on_ledger(load(flags), lambda ledger: ledger.find(key))
    print(json.dumps(entry.as_json(), indent=2) if as_json else report(entry))


def _adopt(
    flags: dict[str, Any],
    key: Key,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Who answers for it, and why.")] = "",
) -> None:
    """Answer for a job: it is not reported, and not cancelled as an orphan, any more.

    A cancellation that was not carried out yet is given up.
    """
    print(_on_ledger(load(flags), lambda ledger: ledger.adopt(key, reason=reason)))


def _cancel(
    flags: dict[str, Any],
    key: Key,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the ledger keeps it.")] = "",
) -> None:
    """Have a job cancelled: a server of this store does it, and tries again where it fails."""
    print(_on_ledger(load(flags), lambda ledger: ledger.cancel(key, reason=reason)))


def _forget(
    flags: dict[str, Any],
    key: Key,
    force: Annotated[bool, typer.Option("--force", help="Also where the job may be running.")] = False,
) -> None:
    """Remove the record of a job that is over.

    A record whose job may be running is refused: without it a repeat of the create may make a second job, and nobody
    cancels the first.
    """
    print(_on_ledger(load(flags), lambda ledger: ledger.forget(key, force=force)))


def _on_ledger(settings: Settings, ask: Callable[[Ledger], Awaitable[T]]) -> T:
    # What a store warns of at its start is the servers' business, and stands in their logs.
    logging.getLogger("connectors").setLevel(logging.ERROR)

    async def opened() -> T:
        async with open_ledger(settings.store, settings.engine_options()) as ledger:
            return await ask(ledger)

    try:
        return asyncio.run(opened())
    except LedgerError as error:
        typer.echo(f"connectors: {error}", err=True)
        sys.exit(1)


def _print_list(settings: Settings, entries: list[Entry], *, is_narrowed: bool) -> None:
    from connectors._server.starting import store_in_use
    from connectors._tables import console, print_table

    if not entries:
        print(f"no job {'of that kind ' if is_narrowed else ''}is in {store_in_use(settings.store)}")
        return
    to = console()
    print_table(
        to,
        ("KEY", "TASK TYPE", "OWNER", "ATTEMPT", "FATE", "ORPHAN", "AGE"),
        (
            (
                entry.record.key[: _SHOWN_KEY if to.is_terminal else None],
                entry.record.task_type,
                entry.owner,
                entry.attempt,
                entry.fate.value,
                "yes" if entry.is_orphan else "no",
                age_text(entry.age_of(entry.record.created)),
            )
            for entry in entries
        ),
    )


jobs.command("list")(with_settings(_list, only=_ABOUT_LEDGER))
jobs.command("show")(with_settings(_show, only=_ABOUT_LEDGER))
jobs.command("adopt")(with_settings(_adopt, only=_ABOUT_LEDGER))
jobs.command("cancel")(with_settings(_cancel, only=_ABOUT_LEDGER))
jobs.command("forget")(with_settings(_forget, only=_ABOUT_LEDGER))
