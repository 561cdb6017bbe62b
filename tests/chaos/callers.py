"""Scenarios about what is lost between the three parties, callers that give up, and names that are used again."""

from __future__ import annotations

import asyncio

from connectors.testing.backend import BackendTask, Fate, Mishaps
from connectors.testing.platform import Fault
from tests.chaos.arena import Account, Arena

__all__ = ["callers_give_up", "lost_replies", "same_names_again"]

_POLL = 0.25  # seconds
_ORPHANS_WITHIN = 90.0  # seconds: a cancellation that fails is tried again after one minute


async def lost_replies(arena: Arena, *, cycles: int = 500, share: float = 0.3, at_once: int = 32) -> Account:
    """Each task is created, polled, and deleted when its user aborts it, ``at_once`` at a time. Of the platform's
    replies ``share`` are lost, of every kind, after it did what it was asked for.

    Notes: replies that were lost.
    """
    since = _now()
    platform = arena.platform
    platform.set_fault(Fault("lose", committed=True, probability=share))
    tasks = arena.tasks(arena.times(cycles), custom={"duration": None}, abort_after=0.5)
    turn = asyncio.Semaphore(at_once)
    # one poll before the delete, and none after it
    async with arena.backend(poll_interval=1.0, workers=at_once, mishaps=Mishaps(late_polls=0)) as backend:

        async def run(task: BackendTask) -> Fate:
            async with turn:
                (fate,) = await backend.run([task])
                return fate

        fates = await asyncio.gather(*(run(task) for task in tasks))
    ((_, lost),) = platform.faults()
    return arena.account(fates, since=since, lost=lost)


async def callers_give_up(arena: Arena, *, tasks: int = 24, duration: float = 3.0) -> Account:
    """A create takes two seconds, and callers wait for one: half of them for tasks with two retries, whose jobs run for
    ``duration``; all of them for as many tasks with none, whose jobs run until they are cancelled. A cancelled job
    needs a second to end. Afterwards, wait until nothing runs.

    Notes: creates that were given up, and the seconds until the last orphan was asked to end, from its create on.
    """
    since = _now()
    count = arena.times(tasks)
    arena.platform.set_fault(Fault("slow", ("submit",), delay=2.0))
    retried = arena.tasks(count, execution="retried", custom={"duration": duration}, retries=2)
    abandoned = arena.tasks(count, execution="abandoned", custom={"duration": None}, retries=0)
    half, all_of_them = (Mishaps(give_up=share, give_up_after=1.0) for share in (0.5, 1.0))
    async with (
        arena.backend(poll_interval=_POLL, mishaps=half) as patient,
        arena.backend(poll_interval=_POLL, mishaps=all_of_them) as impatient,
    ):
        fates, given_up = await asyncio.gather(patient.run(retried, spread=2.0), impatient.run(abandoned, spread=2.0))
    await _until_nothing_runs(arena)
    asked = [job.cancelled_at - job.states[0][1] for job in arena.platform.jobs() if job.cancelled_at is not None]
    creates = sum(call.result == "GIVEN_UP" for fate in [*fates, *given_up] for call in fate.calls)
    return arena.account([*fates, *given_up], since=since, given_up=creates, longest=round(max(asked, default=0), 1))


async def same_names_again(arena: Arena, *, tasks: int = 20, after: float, age: float = 0.0) -> Account:
    """Tasks run to their end; ``after`` seconds later, tasks of the same names do.

    :param age: by so many seconds the platform's jobs are made older in between.

    Notes: jobs that both runs were told.
    """
    since = _now()
    named = arena.tasks(arena.times(tasks), custom={"duration": 0.2})
    async with arena.backend(poll_interval=_POLL) as backend:
        first = await backend.run(named)
        await asyncio.sleep(after)
        arena.platform.age(age)
        second = await backend.run(named)
    shared = sum(bool(set(one.metas) & set(other.metas)) for one, other in zip(first, second, strict=True))
    return arena.account([*first, *second], since=since, shared=shared)


async def _until_nothing_runs(arena: Arena) -> None:
    """For a minute and a half at the most."""
    try:
        async with asyncio.timeout(_ORPHANS_WITHIN):
            while True:
                if not any(job.is_live for job in arena.platform.jobs()):
                    return
                await asyncio.sleep(_POLL)
    except TimeoutError:
        pass  # the account tells how many there are


def _now() -> float:
    return asyncio.get_running_loop().time()
