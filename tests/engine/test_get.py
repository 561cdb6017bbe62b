"""GetTask answers with a phase and never with an error, once the meta decodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from connectors import (
    ConnectorError,
    Context,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Phase,
    RateLimited,
    Resource,
    TaskLog,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from connectors._engine.options import ConnectorLimits
from connectors._engine.requests import Caller
from tests.engine.callers import Script, being, raising
from tests.engine.harness import Bench, Job, job_request

pytestmark = pytest.mark.anyio

META = Job("j1").encode()


async def test_the_platform_s_answer_is_passed_on(bench: Bench) -> None:
    bench.acme.on_get = being(Phase.SUCCEEDED, message="done", outputs={"o0": 1})
    async with bench.engine() as engine:
        assert await engine.get(job_request(META)) == Resource(Phase.SUCCEEDED, "done", outputs={"o0": 1})
    assert bench.events[-1].phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    "fault",
    [
        Unavailable("HTTP 503"),
        RateLimited("HTTP 429"),
        Unauthenticated("HTTP 401"),
        PermissionDenied("HTTP 403"),
        InvalidRequest("HTTP 400"),
        ConnectorError("odd"),
        KeyError("a bug"),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_a_fault_is_running_where_nothing_is_known(bench: Bench, fault: BaseException) -> None:
    bench.acme.on_get = raising(fault)
    async with bench.engine() as engine:
        resource = await engine.get(job_request(META))
    assert resource.phase is Phase.RUNNING
    assert bench.events[-1].shielded
    assert bench.events[-1].status == "OK"


async def test_a_fault_is_the_last_known_phase_with_its_age(bench: Bench) -> None:
    async with bench.engine(limits=ConnectorLimits(attempts=1)) as engine:
        bench.acme.on_get = being(Phase.QUEUED)
        await engine.get(job_request(META))
        bench.acme.on_get = raising(Unauthenticated("HTTP 401"))
        await engine.get(job_request(META))
        await anyio.sleep(30)
        resource = await engine.get(job_request(META))
    assert resource.phase is Phase.QUEUED
    assert resource.custom_info == {
        "fault": {"status": "UNAUTHENTICATED", "message": "HTTP 401", "count": 2, "age_seconds": 30.0}
    }


async def test_a_fault_that_passes_within_the_deadline_is_not_seen(bench: Bench) -> None:
    bench.acme.on_get = Script(Unavailable(), Unavailable(), Resource(Phase.SUCCEEDED))
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.SUCCEEDED
    assert bench.events[-1].attempts == 3


async def test_a_connector_that_swallows_its_cancellation_holds_up_nobody(bench: Bench) -> None:
    async def stubborn(ctx: Context) -> Resource:
        for _ in range(5):
            try:
                await anyio.sleep(100)
            except asyncio.CancelledError:
                continue
        return Resource(Phase.SUCCEEDED)

    bench.acme.on_get = stubborn
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
        assert asyncio.get_running_loop().time() == pytest.approx(9.5)


async def test_a_connector_that_cancels_its_own_task_is_a_hidden_bug(bench: Bench) -> None:
    async def suicidal(ctx: Context) -> Resource:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep(1)
        return Resource(Phase.SUCCEEDED)

    bench.acme.on_get = suicidal
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
    assert bench.events[-1].error_id


@pytest.mark.parametrize("message", ["half a \ud83d", "x" * 1_000_000, b"bytes"], ids=["surrogate", "long", "bytes"])
async def test_any_message_of_a_fault_is_made_presentable(bench: Bench, message: Any) -> None:
    bench.acme.on_get = raising(Unavailable(message))
    async with bench.engine() as engine:
        resource = await engine.get(job_request(META))
    resource.message.encode()
    assert 0 < len(resource.message) < 10_000


async def test_a_platform_that_does_not_answer_is_running_before_the_deadline(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: anyio.sleep(60)
    async with bench.engine() as engine:
        resource = await engine.get(job_request(META))
        assert asyncio.get_running_loop().time() == pytest.approx(9.5)
    assert resource.phase is Phase.RUNNING


@pytest.mark.parametrize("later", [raising(Unavailable()), being(Phase.RUNNING)], ids=["a fault", "an older state"])
async def test_a_task_never_comes_back_from_a_terminal_phase(bench: Bench, later: Callable[[Context], Any]) -> None:
    async with bench.engine() as engine:
        bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": 1})
        first = await engine.get(job_request(META))
        bench.acme.on_get = later
        assert await engine.get(job_request(META)) == first


async def test_a_job_that_is_gone_for_a_minute_has_failed(bench: Bench) -> None:
    bench.acme.on_get = raising(NotFound("no job j1"))
    async with bench.engine() as engine:
        first = await engine.get(job_request(META))
        await anyio.sleep(50)
        second = await engine.get(job_request(META))
        await anyio.sleep(10)
        third = await engine.get(job_request(META))
    assert [first.phase, second.phase, third] == [Phase.RUNNING, Phase.RUNNING, Resource(Phase.FAILED, "no job j1")]
    assert [event.shielded for event in bench.events] == [True, True, False]


async def test_outputs_that_cannot_be_written_are_a_hidden_bug(bench: Bench) -> None:
    bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": object()})
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
    assert bench.events[-1].error_id


async def test_a_state_that_the_connector_does_not_know_is_told_in_the_event(bench: Bench) -> None:
    def answer(ctx: Context) -> Resource:
        ctx.unknown_state("PAUSED")
        return Resource(Phase.RUNNING)

    bench.acme.on_get = answer
    async with bench.engine() as engine:
        await engine.get(job_request(META))
    assert bench.events[-1].unknown_states == ("PAUSED",)


async def test_an_answer_without_a_phase_is_a_hidden_bug(bench: Bench) -> None:
    bench.acme.on_get = being(Phase.UNDEFINED)
    async with bench.engine() as engine:
        assert (await engine.get(job_request(META))).phase is Phase.RUNNING
    assert bench.events[-1].error_id


async def test_secrets_are_taken_out_of_all_that_an_answer_tells(bench: Bench) -> None:
    async def answer(ctx: Context) -> Resource:
        token = await ctx.secrets.get("token")
        link = TaskLog(f"https://example.com/?t={token}", token)
        return Resource(Phase.RUNNING, token, (link,), custom_info={"a": [{"b": token}]})

    bench.acme.on_get = answer
    async with bench.engine() as engine:
        resource = await engine.get(job_request(META))
    assert "fake-token" not in repr(resource)
    assert resource.custom_info == {"a": [{"b": "[secret]"}]}


@pytest.mark.parametrize(
    ("link", "facts"),
    [
        (("", ""), {"a": "fake-token-0123456789", "n": 1}),
        (("", ""), {"fake-token-0123456789": None}),
        (("https://a/fake-token-0123456789", ""), None),
    ],
    ids=["in a fact", "in a fact's name", "in a link"],
)
async def test_a_secret_beside_flat_facts_is_taken_out(
    bench: Bench, link: tuple[str, str], facts: dict[str, Any] | None
) -> None:
    async def answer(ctx: Context) -> Resource:
        assert await ctx.secrets.get("token") == "fake-token-0123456789"
        return Resource(Phase.RUNNING, log_links=(TaskLog(*link),), custom_info=facts)

    bench.acme.on_get = answer
    async with bench.engine() as engine:
        told = repr(await engine.get(job_request(META)))
    assert "[secret]" in told
    assert "fake-token-0123456789" not in told


async def test_a_result_that_no_backend_takes_fails_with_the_reason(bench: Bench) -> None:
    bench.acme.on_get = being(Phase.SUCCEEDED, outputs={"o0": "x" * 2_000})
    async with bench.engine(answer_max_bytes=1_000) as engine:
        resource = await engine.get(job_request(META))
    assert resource.phase is Phase.FAILED
    assert "1000" in resource.message


async def test_too_much_beside_a_phase_is_left_out(bench: Bench) -> None:
    bench.acme.on_get = being(Phase.QUEUED, message="m" * 5_000)
    async with bench.engine(answer_max_bytes=1_000) as engine:
        assert await engine.get(job_request(META)) == Resource(Phase.QUEUED, "m" * 1_000)


async def test_too_many_facts_beside_a_phase_are_left_out(bench: Bench) -> None:
    bench.acme.on_get = being(Phase.RUNNING, custom_info={f"fact-{number}": number for number in range(50)})
    async with bench.engine(answer_max_bytes=1_000) as engine:
        assert (await engine.get(job_request(META))).custom_info is None


@pytest.mark.parametrize(
    "meta", [b"", b"{", b"null", b'{"other": "field"}', b'{"name": 7}', b"\xff\xfe", b'{"name": "j"} trailing']
)
async def test_a_meta_that_does_not_decode_is_refused_by_name(bench: Bench, meta: bytes) -> None:
    async with bench.engine() as engine:
        with pytest.raises(InvalidRequest, match=r"resource.meta"):
            await engine.get(job_request(meta))
    assert bench.acme.gets == 0


async def test_a_meta_with_a_field_of_a_later_release_is_read(bench: Bench) -> None:
    async with bench.engine() as engine:
        await engine.get(job_request(b'{"name": "j", "added": 1}'))
    assert bench.acme.gets == 1


async def test_a_get_over_the_limit_is_the_last_known_phase(bench: Bench) -> None:
    async with bench.engine(limits=ConnectorLimits(concurrency=1, queue=0)) as engine:
        bench.acme.on_get = being(Phase.QUEUED)
        await engine.get(job_request(META))
        bench.acme.on_get = lambda ctx: anyio.sleep(5)
        other = asyncio.create_task(engine.get(job_request(Job("slow").encode())))
        await anyio.sleep(1)
        assert (await engine.get(job_request(META))).phase is Phase.QUEUED
        await other


async def test_a_slow_connector_does_not_hold_up_another(bench: Bench) -> None:
    bench.acme.on_get = lambda ctx: anyio.sleep(60)
    async with bench.engine(limits=ConnectorLimits(concurrency=2)) as engine, anyio.create_task_group() as callers:
        for number in range(4):
            callers.start_soon(engine.get, job_request(Job(str(number)).encode()))
        await anyio.sleep(1)
        before = asyncio.get_running_loop().time()
        with pytest.raises(Unimplemented):
            await engine.get(job_request(META, "echo"))
        assert asyncio.get_running_loop().time() == before


@pytest.mark.parametrize("operation", ["get_logs", "get_metrics"])
async def test_logs_and_metrics_are_unimplemented_where_the_connector_has_none(bench: Bench, operation: str) -> None:
    async with bench.engine() as engine:
        call = {
            "get_logs": engine.get_logs(job_request(META), lines=10, token=""),
            "get_metrics": engine.get_metrics(job_request(META), queries=[], start=None, end=None, step=None),
        }
        with pytest.raises(Unimplemented, match="acme has no"):
            await call.pop(operation)
        call.popitem()[1].close()


async def test_each_call_makes_one_event_that_says_what_it_was(bench: Bench) -> None:
    async with bench.engine() as engine:
        await engine.get(job_request(META, caller=Caller("flyte2", peer="127.0.0.1:9")))
    (event,) = bench.events
    assert (event.operation, event.task_type, event.protocol, event.status, event.peer) == (
        "get",
        "acme",
        "flyte2",
        "OK",
        "127.0.0.1:9",
    )
    assert (event.attempts, event.phase, event.shielded) == (1, Phase.RUNNING, False)
