"""Streams that are endless on both sides: what keeps one open, and what ends it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from connectors._wire.status import Status
from connectors._wire.transport import Call, Limits, Route
from connectors.testing.virtual_time import VirtualTimeLoop
from tests.wire.transport_peers import RawClient, message, raw_client, serving

pytestmark = pytest.mark.anyio

TALK = "/test.Echo/Talk"
PAUSE_S = Limits().receive_timeout - 1


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


async def talk(call: Call) -> None:
    while (question := await call.receive()) is not None:
        await call.send(question)


ROUTES = {TALK: Route(talk, client_streaming=True, server_streaming=True, endless=True)}


async def pause(client: RawClient) -> None:
    """Returns most of the bound later, when all that was sent before has come. The sockets' own time is none."""
    with cast(VirtualTimeLoop, asyncio.get_running_loop()).standing_still():
        await client.round_trip()
    await asyncio.sleep(PAUSE_S)


async def test_one_that_has_a_message_within_each_bound_goes_on_for_an_hour_and_more() -> None:
    async with serving(ROUTES) as served, raw_client(served) as client:
        stream_id = client.request(path=TALK, end=False)
        for _ in range(100):
            await pause(client)
            client.data(stream_id, message(b"x"))
        client.data(stream_id, b"", end=True)
        answer = await client.answer(stream_id)
        assert (answer.status, answer.data) == (Status.OK, message(b"x") * 100)


async def test_a_part_of_a_message_does_not_buy_the_rest_more_time() -> None:
    async with serving(ROUTES) as served, raw_client(served) as client:
        stream_id, began = client.request(path=TALK, end=False), asyncio.get_running_loop().time()
        await pause(client)
        client.data(stream_id, message(b"x")[:1])
        answer = await client.answer(stream_id)
        assert answer.message == "the next message did not arrive whole within 60 s"
        assert asyncio.get_running_loop().time() - began == pytest.approx(60, abs=0.1)
