"""Scenarios about what goes away for a while under load: the platform, the servers one by one, the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from connectors.client import CallFailed
from connectors.testing.backend import Backend, BackendTask, Fate
from connectors.testing.platform import Fault
from tests.chaos.arena import Account, Arena
from tests.chaos.servers import ServerUnderTest

__all__ = ["platform_outage", "rolling_restart", "store_outage"]

_POLL = 0.25  # seconds


async def platform_outage(arena: Arena, fault: Fault, *, tasks: int = 100, pace: float = 1.0) -> Account:
    """Tasks whose jobs run seven minutes start within one; 90 s after the first, ``fault`` is what the platform is
    like for as long as it lasts. Polls come every 30 s, ten at once, as in a real backend.

    :param pace: all these times are multiplied by it; not the fault's, and not the calls' deadlines.

    Notes: requests that met the fault.
    """
    since = _now()
    hits = 0

    async def set_fault() -> None:
        nonlocal hits
        await asyncio.sleep(90 * pace)
        arena.platform.set_fault(fault)
        await asyncio.sleep(fault.seconds or 0)
        ((_, hits),) = arena.platform.faults()
        arena.platform.clear_faults()

    named = arena.tasks(arena.times(tasks), custom={"duration": 420.0 * pace})
    async with arena.backend(poll_interval=30.0 * pace, deadline=10.0) as backend, asyncio.TaskGroup() as group:
        group.create_task(set_fault())
        fates = await backend.run(named, spread=60 * pace)
    return arena.account(fates, since=since, met=hits)


async def rolling_restart(arena: Arena, *, every: float = 0.04, rounds: int = 1) -> Account:
    """While a task starts every ``every`` seconds, one server after the other is ended and started again; each takes
    calls again before the next one's turn comes.

    Notes: restarts, and exit codes other than 0.
    """
    since = _now()
    restarts = bad_codes = 0
    async with (
        arena.backend(poll_interval=_POLL, workers=32) as backend,
        _load(arena, backend, every=every, duration=0.5) as fates,
    ):
        for server in [*arena.servers] * arena.times(rounds):
            for each in arena.servers:
                await _takes_calls(each)
            bad_codes += await server.end_and_start() != 0
            await server.ready()
            restarts += 1
        for each in arena.servers:
            await _takes_calls(each)
    return arena.account(fates, since=since, restarts=restarts, bad_exit_codes=bad_codes)


async def _takes_calls(server: ServerUnderTest) -> None:
    before = await server.answered()
    while True:
        await asyncio.sleep(_POLL)
        if await server.answered() > before:
            return


async def store_outage(
    arena: Arena,
    *,
    kill: Callable[[], Awaitable[None]],
    start: Callable[[], Awaitable[None]],
    during: Callable[[], Awaitable[None]],
    after: Callable[[], Awaitable[None]],
    every: float = 0.1,
    down: float = 3.0,
    watch: float = 8.0,
) -> Account:
    """While a task starts every ``every`` seconds, the store is killed, and ``down`` seconds later started again: once,
    or as often as the scale says. Every third task's first create is given up by its caller before it is answered, and
    sent again. Jobs run long enough to be polled for another ``watch`` seconds, in which somebody may take one for an
    orphan.

    :param during: returns once everybody has noticed that the store is gone. :param after: … that it is back.

    Notes: the longest create of each task type that began while the store was down, in seconds.
    """
    since = _now()
    async with arena.backend(poll_interval=_POLL, workers=32) as backend:
        began = _now()
        outages: list[tuple[float, float]] = []
        async with _load(arena, backend, every=every, duration=watch, impatient=3) as fates:
            for _ in range(arena.times(1)):
                await asyncio.sleep(2.0)
                await kill()
                lost = _now()
                await during()
                await asyncio.sleep(max(0.0, lost + down - _now()))
                outages.append((lost - began, _now() - began))
                await start()
                await after()
            await asyncio.sleep(2.0)
    longest = {f"longest {each}": round(_longest_create(fates, each, outages), 1) for each in arena.task_types}
    return arena.account(fates, since=since, **longest)


def _longest_create(fates: list[Fate], task_type: str, during: list[tuple[float, float]]) -> float:
    calls = (call for fate in fates if fate.task.template.type == task_type for call in fate.calls)
    creates = (call for call in calls if call.operation == "create")
    return max((call.took for call in creates if any(start <= call.at < end for start, end in during)), default=0.0)


@asynccontextmanager
async def _load(
    arena: Arena, backend: Backend, *, every: float, duration: float, impatient: int = 0
) -> AsyncIterator[list[Fate]]:
    """Start a task every ``every`` seconds for as long as what is inside takes. The fates are there after it."""
    fates: list[Fate] = []
    over = asyncio.Event()

    async def run(task: BackendTask, *, sent_before: bool) -> Fate:
        if sent_before:
            try:
                async with asyncio.timeout(0.05):
                    await backend.create(task)
            except (TimeoutError, CallFailed):
                pass
        (fate,) = await backend.run([task])
        return fate

    async def start_tasks() -> None:
        running: list[asyncio.Task[Fate]] = []
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                number = len(running)
                types = arena.task_types[number % len(arena.task_types)]
                (task,) = arena.of(types).tasks(1, execution=f"load-{number}", custom={"duration": duration})
                sent_before = impatient > 0 and number % impatient == 0
                running.append(group.create_task(run(task, sent_before=sent_before)))
                await asyncio.sleep(every)
        fates.extend(each.result() for each in running)

    async with asyncio.TaskGroup() as group:
        group.create_task(start_tasks())
        try:
            yield fates
        finally:
            over.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
