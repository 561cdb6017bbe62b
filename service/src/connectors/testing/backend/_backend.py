"""The backend: tasks go in, fates come out."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from connectors.testing.backend._fates import Fate
from connectors.testing.backend._mishaps import Mishaps
from connectors.testing.backend._pace import Pace
from connectors.testing.backend._run import Behaviour, TaskRun
from connectors.testing.backend._tasks import BackendTask, Protocol
from connectors.testing.backend._transport import ClientTransport, Connect, Transport

__all__ = ["Backend"]


class Backend:
    """A Flyte backend, as its connectors meet it. Use it as an asynchronous context.

    For each attempt of a task it calls CreateTask, then GetTask at once, and again every ``poll_interval`` until the
    phase is terminal. It has no retry policy:

    - A create that fails uses a retry of the task's. No meta is kept, so that nothing is deleted.
    - Polls that fail are counted over the attempt's whole life. At the sixth the task fails for good; or, where any
      poll ever succeeded, it is polled no more and shows RUNNING for ever.
    - RETRYABLE_FAILED uses a retry, with a DeleteTask before it; FAILED and the last retry are followed by none.
    - A task that its user aborts is deleted, once its create was answered.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        protocol: Protocol = "flyte1",
        poll_interval: float = 30.0,
        deadline: float | None = 10.0,
        retries: int = 0,
        seed: int = 0,
        mishaps: Mishaps | None = None,
        workers: int = 10,
        polls_per_second: float | None = None,
        burst: int = 100,
        patience: float = math.inf,
        outputs_at: Callable[[str], bool] | None = None,
        connect: Connect = ClientTransport,
    ) -> None:
        """:param endpoints: the servers' ``host:port``, which are called in turn.
        :param poll_interval: seconds from the start of one poll of a job to the next; 5 s to 1 h in a real backend.
        :param deadline: of each call, in seconds; None: none, as a deployment of its own has it.
        :param retries: of each task that does not name its own number.
        :param seed: of everything that is left to chance: the same seed, the same mishaps.
        :param workers: how many polls are under way at once.
        :param polls_per_second: how many are begun, after a ``burst``; 10 and 100 in a real backend. None: no bound.
        :param patience: after this time (seconds) a task that has not ended is ``stuck``.
        :param outputs_at: whether there is an ``outputs.pb`` under an output prefix: asked for a task that declares
            outputs and whose resource has none. None: there always is.
        """
        self._endpoints = endpoints
        self._connect = connect
        self._behaviour = Behaviour(
            protocol=protocol,
            poll_interval=poll_interval,
            deadline=deadline,
            retries=retries,
            seed=seed,
            mishaps=mishaps or Mishaps(),
            patience=patience,
            outputs_at=outputs_at,
        )
        self._pace = Pace(workers=workers, per_second=polls_per_second, burst=burst)
        self._runs: Counter[str] = Counter()
        self._opened = AsyncExitStack()
        self._transport: Transport | None = None
        self._began = 0.0

    async def __aenter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        behaviour = self._behaviour
        connecting = self._connect(self._endpoints, behaviour.protocol, behaviour.deadline)
        self._transport = await self._opened.enter_async_context(connecting)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    async def run(self, tasks: Iterable[BackendTask], *, spread: float = 0.0) -> list[Fate]:
        """Run tasks at the same time; their fates, in their order.

        :param spread: they start at random within so many seconds.
        """
        chance = random.Random(f"{self._behaviour.seed}/spread")
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._run(task, chance.uniform(0, spread))) for task in tasks]
        return [each.result() for each in running]

    async def create(self, task: BackendTask, attempt: int = 0) -> bytes:
        """One CreateTask, as :meth:`run` sends it, with nothing after it; the resource meta.

        :raises connectors.client.CallFailed: as the server answers.
        """
        return await self._task_run(task).create(attempt)

    async def _run(self, task: BackendTask, delay: float) -> Fate:
        if delay > 0:
            await asyncio.sleep(delay)
        return await self._task_run(task).fate()

    def _task_run(self, task: BackendTask) -> TaskRun:
        if self._transport is None:
            raise RuntimeError("use the backend as an asynchronous context: async with Backend(…) as backend")
        number = self._runs[task.name]
        self._runs[task.name] += 1
        return TaskRun(task, self._transport, self._pace, self._behaviour, number=number, began=self._began)
