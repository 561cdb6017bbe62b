"""Two servers are replaced in turn, again and again, under load: callers with Flyte's own configuration see nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.conftest import MakeArena, Report
from tests.chaos.flyte_stubs import FlyteStubs
from tests.chaos.listers import listing
from tests.chaos.outages import rolling_restart

pytestmark = pytest.mark.anyio

_ROLLS = 2  # of both servers; 20 where the scale is that of `make chaos`


async def test_two_servers_that_are_rolled_under_load_fail_no_call(
    make_arena: MakeArena, report: Report, tmp_path: Path
) -> None:
    """Connections are asked to go away for their age as well: every second, which is when the servers are few."""
    options = ("--drain-delay=0.3", "--max-connection-age=1")
    async with make_arena(f"sqlite://{tmp_path}/chaos.db", *options, connect=FlyteStubs) as arena:
        async with listing([server.address for server in arena.servers], every=0.2) as listed:
            account = await rolling_restart(arena, rounds=_ROLLS)
        report(account)
    assert (account.notes["restarts"], account.notes["bad exit codes"]) == (2 * arena.times(_ROLLS), 0)
    assert account.failed_calls == ()
    assert account.outcomes == {"succeeded": len(account.fates)}
    assert (account.jobs, account.most_jobs) == (len(account.fates), 1)
    assert len(account.fates) >= arena.times(50)
    assert listed.failures == []
    assert listed.answered >= arena.times(20)
