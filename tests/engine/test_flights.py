"""Work that belongs to the server: how it ends where nobody carries it out."""

from __future__ import annotations

import asyncio

import pytest

from connectors import TaskCategory, Unavailable
from connectors._engine.admission import Admission
from connectors._engine.flights import Flight, Flights
from connectors._engine.options import EngineOptions
from connectors._engine.work import Work
from connectors._registry import Registered
from tests.engine.callers import now
from tests.engine.harness import Acme, create_request

pytestmark = pytest.mark.anyio


async def test_work_that_is_cancelled_before_its_first_step_tells_those_who_wait_and_gives_its_slot_back() -> None:
    admission = Admission(EngineOptions())
    slot = await admission.enter("acme", until=now() + 1)
    registered = Registered(Acme(), TaskCategory("acme"), "acme", "", "", "async")
    begun: list[str] = []

    async def carry_out(flight: Flight[str]) -> str:
        begun.append(flight.key)
        return "answer"

    flights = Flights[str]()
    flight = flights.start(Work(registered, create_request("acme"), "k", "", slot), "create", carry_out)
    waiting = asyncio.create_task(flight.wait(until=now() + 10))
    await flights.cancel("k")
    with pytest.raises(Unavailable, match="stopped"):
        await waiting
    await flights.join()
    assert not begun
    assert admission.state("acme").taken == 0
