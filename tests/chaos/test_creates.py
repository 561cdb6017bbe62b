"""One job for each create, however often and to whichever server it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.conftest import MakeArena, Report
from tests.chaos.creates import identical_creates, kills_during_creates, two_clusters
from tests.chaos.places import StoreName, place

pytestmark = pytest.mark.anyio

on_every_store = pytest.mark.parametrize("store", ["sqlite", "redis", "postgresql"])


@on_every_store
async def test_64_identical_creates_at_once_over_two_servers_make_one_job_and_get_one_answer(
    make_arena: MakeArena, report: Report, tmp_path: Path, store: StoreName
) -> None:
    # on the third platform nothing but the service keeps a repeat from making a second job
    task_types = ("platform_native", "platform_search", "platform_none")
    with place(store, tmp_path) as held:
        async with make_arena(held.url, task_types=task_types) as arena:
            account = await identical_creates(arena)
            report(account)
    assert account.failed_calls == ()
    assert account.outcomes == {"succeeded": 3}
    assert (account.notes["answers"], account.notes["different"]) == (3 * arena.times(64), 3)
    assert (account.jobs, account.most_jobs) == (3, 1)


@on_every_store
async def test_servers_that_are_killed_during_creates_make_exactly_one_job_for_each(
    make_arena: MakeArena, report: Report, tmp_path: Path, store: StoreName
) -> None:
    creates, kills = (300, 6) if store == "sqlite" else (100, 4)
    with place(store, tmp_path) as held:
        async with make_arena(held.url, "--lease=2") as arena:
            account = await kills_during_creates(arena, creates=creates, kills=kills)
            report(account)
    assert account.failed_calls == ()
    assert account.outcomes == {"succeeded": arena.times(creates)}
    assert (account.jobs, account.most_jobs) == (arena.times(creates), 1)
    assert account.notes["changed"] == 0
    assert account.notes["broken off"] > 0


@pytest.mark.parametrize("shared", [True, False], ids=["one store for both", "a store of its own for each"])
async def test_clusters_with_namespaces_of_their_own_share_no_job_though_all_names_are_the_same(
    make_arena: MakeArena, report: Report, tmp_path: Path, shared: bool
) -> None:
    other = "a" if shared else "b"
    each = [
        ("--key-namespace=a", f"--store=sqlite://{tmp_path}/a.db"),
        ("--key-namespace=b", f"--store=sqlite://{tmp_path}/{other}.db"),
    ]
    async with make_arena("memory://", each=each) as arena:
        account = await two_clusters(arena)
        report(account)
    assert account.failed_calls == ()
    assert account.outcomes == {"succeeded": 2 * arena.times(20)}
    assert (account.jobs, set(account.jobs_by_task.values())) == (2 * arena.times(20), {2})
    assert account.notes["shared"] == 0
