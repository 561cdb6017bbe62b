"""How the backends ask which task types there are: again and again, Flyte 1 over a new connection each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
from flyteidl.admin import agent_pb2
from flyteidl.service import agent_pb2_grpc

__all__ = ["Listed", "listing"]

_DEADLINE = 10.0  # seconds, as Flyte's


@dataclass
class Listed:
    """What came of it."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)


@asynccontextmanager
async def listing(endpoints: Sequence[str], *, every: float) -> AsyncIterator[Listed]:
    """Ask every ``every`` seconds, in the event loop's other tasks."""
    listed = Listed()
    asking = asyncio.create_task(_ask(endpoints, every, listed))
    try:
        yield listed
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _ask(endpoints: Sequence[str], every: float, listed: Listed) -> None:
    options = [("grpc.lb_policy_name", "round_robin"), ("grpc.use_local_subchannel_pool", 1)]
    while True:
        async with grpc.aio.insecure_channel(f"ipv4:{','.join(endpoints)}", options=options) as channel:
            stub = agent_pb2_grpc.AgentMetadataServiceStub(channel)
            try:
                await stub.ListAgents(agent_pb2.ListAgentsRequest(), timeout=_DEADLINE)
                listed.answered += 1
            except grpc.aio.AioRpcError as error:
                listed.failures.append(f"{error.code().name}: {error.details()}")
        await asyncio.sleep(every)
