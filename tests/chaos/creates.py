"""Scenarios about creates: repeated at once, broken off by ``kill -9``, and of two clusters that use the same names."""

from __future__ import annotations

import asyncio
from itertools import chain

from connectors.client import CallFailed
from connectors.testing.backend import Backend, Fate
from connectors.testing.platform import Fault
from tests.chaos.arena import Account, Arena
from tests.chaos.servers import ServerUnderTest

__all__ = ["identical_creates", "kills_during_creates", "two_clusters"]

_POLL = 0.2  # seconds
_AGAIN = 0.1  # seconds until a create that failed is sent again
_AT_ONCE = 32
_SUBMIT = 0.05  # seconds that the platform takes
_NOT_SENT = "no server can be reached"


async def identical_creates(arena: Arena, *, repeats: int = 64) -> Account:
    """One task of each type; its create is sent ``repeats`` times at once, to all servers in turn. Then each task runs.

    Notes: how many creates were answered, and how many different answers there were.
    """
    since = _now()
    repeats = arena.times(repeats)
    arena.platform.set_fault(Fault("slow", ("submit", "list"), delay=0.2))  # so that all come while the first goes on
    tasks = arena.tasks(len(arena.task_types), custom={"duration": 0.2})
    async with arena.backend(poll_interval=_POLL) as backend:
        sent = (backend.create(task) for task in tasks for _ in range(repeats))
        answers = await asyncio.gather(*sent, return_exceptions=True)
        fates = await backend.run(tasks)
    metas = [answer for answer in answers if isinstance(answer, bytes)]
    polled = set(chain.from_iterable(fate.metas for fate in fates))
    return arena.account(fates, since=since, answers=len(metas), different=len({*metas, *polled}))


async def kills_during_creates(arena: Arena, *, creates: int = 300, kills: int = 6) -> Account:
    """``creates`` are sent, 32 at once, each again until it is answered. While the n-th goes on, for ``kills`` random
    n, one of the servers is killed and started again at once. Then every task runs to its end, and the servers end.

    Notes: kills, creates that they broke off, and tasks of which two answers named different jobs.
    """
    since = _now()
    count, kills = arena.times(creates), arena.times(kills)
    chance = arena.chance("kills")
    numbers = chance.sample(range(_AT_ONCE, count), kills)
    plan = {number: (chance.uniform(0, 2 * _SUBMIT), chance.choice(arena.servers)) for number in numbers}
    arena.platform.set_fault(Fault("slow", ("submit",), delay=_SUBMIT))
    tasks = arena.tasks(count, custom={"duration": 0.1})
    waiting = list(enumerate(tasks))[::-1]
    due: asyncio.Queue[tuple[float, ServerUnderTest]] = asyncio.Queue()
    answers: dict[str, bytes] = {}
    broken_off = 0

    async def create_some(backend: Backend) -> None:
        nonlocal broken_off
        while waiting:
            number, task = waiting.pop()
            if number in plan:
                due.put_nowait(plan[number])
            while task.name not in answers:
                try:
                    answers[task.name] = await backend.create(task)
                except CallFailed as failure:
                    broken_off += not failure.message.startswith(_NOT_SENT)
                    await asyncio.sleep(_AGAIN)

    async def kill_some() -> None:
        for _ in range(kills):
            delay, server = await due.get()
            await asyncio.sleep(delay)
            await server.kill_and_start()

    async with arena.backend(poll_interval=_POLL, workers=32) as backend:
        await asyncio.gather(kill_some(), *(create_some(backend) for _ in range(_AT_ONCE)))
        for server in arena.servers:
            await server.ready()
        fates = await backend.run(tasks, spread=1.0)
    for server in arena.servers:
        await server.close()
    changed = sum({answers[fate.task.name]} != set(fate.metas) for fate in fates)
    return arena.account(fates, since=since, kills=kills, broken_off=broken_off, changed=changed)


async def two_clusters(arena: Arena, *, tasks: int = 20) -> Account:
    """Two backends run tasks of the same names at the same time, each over one of the two servers, while the platform
    loses answers. The fates are the first one's, then the second's.

    Notes: jobs that both were told.
    """
    since = _now()
    arena.platform.set_fault(Fault("lose", ("submit",), committed=True, probability=0.2))
    named = arena.tasks(arena.times(tasks), custom={"duration": 1.0})

    async def run(server: ServerUnderTest) -> list[Fate]:
        async with arena.backend([server], poll_interval=_POLL) as backend:
            return await backend.run(named, spread=1.0)

    first, second = await asyncio.gather(*(run(server) for server in arena.servers))
    told = [set(chain.from_iterable(fate.metas for fate in fates)) for fates in (first, second)]
    return arena.account([*first, *second], since=since, shared=len(told[0] & told[1]))


def _now() -> float:
    return asyncio.get_running_loop().time()
