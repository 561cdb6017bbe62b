"""What is passed on arrives as it was sent, both ways."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from tests.fallback.conftest import Site
from tests.fallback.dialects import EXECUTE, PROTOCOLS, Dialect, header
from tests.fallback.other_service import Context, OtherService, Received

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("dialect", PROTOCOLS, ids=lambda each: each.name)]

ANSWER = b"\x0a\x04meta\xfa\x3e\x03new"
DETAILS = b"\x08\x0a\x12\x03any"


async def test_the_requests_and_the_answers_bytes(site: Site, other: OtherService, dialect: Dialect) -> None:
    path, request = f"{dialect.tasks}/CreateTask", dialect.create()
    other.answers[path] = [ANSWER]
    assert await site.call(path, request) == ANSWER
    assert (other.only.path, other.only.messages) == (path, [request])


@pytest.mark.parametrize("method", ["GetTask", "DeleteTask", "GetTaskMetrics"])
async def test_a_job_is_asked_of_the_service_that_made_it(
    site: Site, other: OtherService, dialect: Dialect, method: str
) -> None:
    path, request = f"{dialect.tasks}/{method}", dialect.job(method)
    other.answers[path] = [ANSWER]
    assert await site.call(path, request) == ANSWER
    assert (other.only.path, other.only.messages) == (path, [request])


async def test_every_message_of_a_log(site: Site, other: OtherService, dialect: Dialect) -> None:
    path, request = f"{dialect.tasks}/GetTaskLogs", dialect.job("GetTaskLogs")
    pages = [b"\x0a\x00", b"\x12\x03\x0a\x01a", b"\x12\x03\x0a\x01b"]
    other.answers[path] = pages
    assert [page async for page in site.stream(path, request)] == pages
    assert other.only.messages == [request]


async def test_messages_of_megabytes(site: Site, other: OtherService, dialect: Dialect) -> None:
    path = f"{dialect.tasks}/GetTask"
    request, answer = dialect.job("GetTask", meta=b"m" * 3_000_000), b"\x0a" * 9_000_000
    other.answers[path] = [answer]
    assert await site.call(path, request) == answer
    assert other.only.messages == [request]


async def test_metadata_but_that_of_a_connection(site: Site, other: OtherService, dialect: Dialect) -> None:
    sent = [("x-tenant", "a"), ("x-tenant", "b"), ("key-bin", b"\x00\xff"), ("idempotency-key", "mine")]
    await site.call(f"{dialect.tasks}/CreateTask", dialect.create(), metadata=sent)
    names = {name for name, _ in other.only.metadata}
    assert set(sent) <= set(other.only.metadata)
    assert names - {name for name, _ in sent} == {"user-agent", "connectors-passed-on"}


async def test_the_deadline_less_a_margin(site: Site, other: OtherService, dialect: Dialect) -> None:
    await site.unary(f"{dialect.tasks}/CreateTask", dialect.create(), timeout=20)
    assert other.only.seconds is not None
    assert 15 < other.only.seconds <= 19.5


async def test_without_a_deadline_the_longest(site: Site, other: OtherService, dialect: Dialect) -> None:
    await site.unary(f"{dialect.tasks}/CreateTask", dialect.create())
    assert other.only.seconds is not None
    assert 50 < other.only.seconds <= 59.5


async def test_metadata_that_comes_with_an_answer(site: Site, other: OtherService, dialect: Dialect) -> None:
    async def handle(received: Received, context: Context) -> None:
        await context.send_initial_metadata((("first", "1"), ("first-bin", b"\x01\xff")))
        context.set_trailing_metadata((("last", "2"), ("last-bin", b"\x02\xff")))

    other.handle = handle
    call = site.unary(f"{dialect.tasks}/GetTask", dialect.job("GetTask"), timeout=30)
    assert await call == b""
    assert {("first", "1"), ("first-bin", b"\x01\xff")} <= set(await call.initial_metadata())
    assert {("last", "2"), ("last-bin", b"\x02\xff")} <= set(await call.trailing_metadata())


@pytest.mark.parametrize("begun", [False, True], ids=["at once", "after its first metadata"])
async def test_a_status_with_all_that_comes_beside_it(
    site: Site, other: OtherService, dialect: Dialect, begun: bool
) -> None:
    told = "Zeile 1\nZeile 2: größer, 100 %; " + "long, as a traceback is; " * 200

    async def handle(received: Received, context: Context) -> None:
        if begun:
            await context.send_initial_metadata((("first", "1"),))
        trailing = (("last", "2"), ("grpc-status-details-bin", DETAILS))
        await context.abort(grpc.StatusCode.DATA_LOSS, told, trailing)

    other.handle = handle
    call = site.unary(f"{dialect.tasks}/GetTask", dialect.job("GetTask"), timeout=30)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.DATA_LOSS, told)
    trailing = dict(raised.value.trailing_metadata())
    assert (trailing["last"], trailing["grpc-status-details-bin"]) == ("2", DETAILS)
    assert (("first", "1") in set(await call.initial_metadata())) is begun


async def test_a_status_in_the_middle_of_a_log(site: Site, other: OtherService, dialect: Dialect) -> None:
    path = f"{dialect.tasks}/GetTaskLogs"

    async def handle(received: Received, context: Context) -> None:
        await context.write(b"\x0a\x00")
        await context.abort(grpc.StatusCode.ABORTED, "no more")

    other.handle = handle
    call = site.stream(path, dialect.job("GetTaskLogs"))
    assert await call.read() == b"\x0a\x00"
    with pytest.raises(grpc.aio.AioRpcError, match="no more"):
        await call.read()


async def test_a_call_that_is_answered_at_once(site: Site, other: OtherService, dialect: Dialect) -> None:
    other.answers[EXECUTE] = [ANSWER, ANSWER]
    messages = [*header(), b"\x12\x00"]
    call = site.both(EXECUTE)
    for message in messages:
        await call.write(message)
    await call.done_writing()
    assert [each async for each in call] == [ANSWER, ANSWER]
    assert other.only.messages == messages


async def test_a_caller_that_hangs_up_ends_the_others_call(site: Site, other: OtherService, dialect: Dialect) -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def handle(received: Received, context: Context) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    other.handle = handle
    call = site.unary(f"{dialect.tasks}/GetTask", dialect.job("GetTask"))
    await asyncio.wait_for(entered.wait(), 30)
    call.cancel()
    await asyncio.wait_for(ended.wait(), 30)
