"""One job per key, whatever is repeated, given up or refused."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from connectors import (
    Conflict,
    ConnectorError,
    Context,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Phase,
    RateLimited,
    TaskExecutionMetadata,
    Unavailable,
)
from connectors._engine.options import ConnectorLimits
from connectors._engine.outcome import ConnectorBug
from connectors._engine.requests import Caller
from connectors._stores import State
from tests.engine.callers import Script, in_seconds
from tests.engine.harness import Bench, Job, create_request, job_request
from tests.engine.unreachable_store import UnreachableStore

pytestmark = pytest.mark.anyio


async def test_the_same_request_again_gets_the_first_job(bench: Bench) -> None:
    async with bench.engine() as engine:
        metas = {await engine.create(create_request()) for _ in range(3)}
    assert len(metas) == 1
    assert len(bench.acme.keys) == 1


async def test_64_identical_creates_at_once_make_one_job(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(1)
    metas: list[bytes] = []
    async with bench.engine() as engine, anyio.create_task_group() as callers:

        async def call() -> None:
            metas.append(await engine.create(create_request()))

        for _ in range(64):
            callers.start_soon(call)
    assert len(metas) == 64
    assert len(set(metas)) == 1
    assert len(bench.acme.keys) == 1


async def test_two_servers_over_one_store_make_one_job(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(1)
    metas: list[bytes] = []
    async with bench.engine() as one, bench.engine() as two, anyio.create_task_group() as callers:

        async def call(engine: Any) -> None:
            metas.append(await engine.create(create_request()))

        for engine in (one, two, one, two):
            callers.start_soon(call, engine)
    assert len(set(metas)) == 1
    assert len(bench.acme.keys) == 1


async def test_a_create_outlives_its_caller_s_deadline_and_the_repeat_gets_its_job(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(12)
    async with bench.engine() as engine:
        with pytest.raises(DeadlineExceeded):
            await engine.create(create_request(caller=in_seconds(10)))
        assert await engine.create(create_request(caller=in_seconds(10)))
    assert len(bench.acme.keys) == 1


async def test_a_create_outlives_a_caller_that_hangs_up(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(3)
    async with bench.engine() as engine:
        call = asyncio.create_task(engine.create(create_request()))
        await anyio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await engine.create(create_request())
    assert len(bench.acme.keys) == 1
    assert [event.status for event in bench.events] == ["CANCELLED", "OK"]


async def test_the_answer_leaves_before_the_caller_s_deadline(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(30)
    async with bench.engine() as engine:
        with pytest.raises(DeadlineExceeded):
            await engine.create(create_request(caller=in_seconds(10)))
        assert asyncio.get_running_loop().time() == pytest.approx(9.5)


async def test_a_create_is_ended_at_its_own_bound(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(1_000)
    async with bench.engine(create_timeout=60) as engine:
        for _ in range(8):
            with pytest.raises(DeadlineExceeded):
                await engine.create(create_request(caller=in_seconds(10)))
    assert len(bench.acme.keys) == 2


async def test_proof_that_no_job_was_made_frees_the_key(bench: Bench) -> None:
    bench.acme.on_create = Script(InvalidRequest("no such dataset"), None)
    async with bench.engine() as engine:
        with pytest.raises(InvalidRequest):
            await engine.create(create_request())
        assert await bench.store.find(bench.acme.keys[0]) is None
        assert await engine.create(create_request())


async def test_without_proof_the_key_is_unknown_and_the_next_try_has_the_same_key(bench: Bench) -> None:
    bench.acme.on_create = Script(ConnectorError("broken off"), None)
    async with bench.engine() as engine:
        with pytest.raises(ConnectorError):
            await engine.create(create_request())
        record = await bench.store.find(bench.acme.keys[0])
        assert record is not None
        assert record.state is State.UNKNOWN
        await engine.create(create_request())
    assert len(set(bench.acme.keys)) == 1


async def test_a_refusal_after_a_lost_try_is_no_proof(bench: Bench) -> None:
    bench.acme.on_create = Script(Unavailable("broken off"), InvalidRequest("already there, and different"))
    async with bench.engine() as engine:
        with pytest.raises(InvalidRequest):
            await engine.create(create_request())
    record = await bench.store.find(bench.acme.keys[0])
    assert record is not None
    assert record.state is State.UNKNOWN


async def test_a_bug_is_internal_with_an_id_and_no_detail(bench: Bench) -> None:
    bench.acme.on_create = Script(KeyError("a detail of the inside"))
    async with bench.engine() as engine:
        with pytest.raises(ConnectorBug) as raised:
            await engine.create(create_request())
    assert "a detail" not in raised.value.message
    assert raised.value.error_id in raised.value.message
    assert bench.events[-1].error_id == raised.value.error_id
    assert bench.events[-1].status == "INTERNAL"


async def test_something_else_than_the_meta_is_a_bug(bench: Bench) -> None:
    bench.acme.on_create = Script("a string")
    async with bench.engine() as engine:
        with pytest.raises(ConnectorBug):
            await engine.create(create_request())


async def test_a_meta_that_does_not_fit_its_own_fields_is_a_bug_at_once(bench: Bench) -> None:
    bench.acme.on_create = Script(Job(17))  # type: ignore[arg-type]  # as an author's untyped JSON would have it
    async with bench.engine() as engine:
        with pytest.raises(ConnectorBug):
            await engine.create(create_request())
    record = await bench.store.find(bench.acme.keys[0])
    assert record is not None
    assert record.state is State.UNKNOWN


async def test_a_meta_that_holds_a_secret_never_leaves(bench: Bench) -> None:
    async def create(ctx: Context) -> Job:
        return Job(await ctx.secrets.get("token"))

    bench.acme.on_create = create
    async with bench.engine() as engine:
        with pytest.raises(ConnectorBug) as raised:
            await engine.create(create_request())
    assert "fake-token" not in str(raised.value)


async def test_a_secret_is_taken_out_of_an_error(bench: Bench) -> None:
    async def create(ctx: Context) -> Job:
        raise InvalidRequest(f"token {await ctx.secrets.get('token')} is refused")

    bench.acme.on_create = create
    async with bench.engine() as engine:
        with pytest.raises(InvalidRequest) as raised:
            await engine.create(create_request())
    assert raised.value.message == "token [secret] is refused"
    assert "fake-token" not in bench.events[-1].message


# --- retries


async def test_what_is_retryable_is_tried_again(bench: Bench) -> None:
    bench.acme.on_create = Script(Unavailable(), RateLimited(), None)
    async with bench.engine() as engine:
        assert await engine.create(create_request())
    assert len(bench.acme.keys) == 3
    assert bench.events[-1].attempts == 3


async def test_what_is_not_retryable_is_tried_once(bench: Bench) -> None:
    bench.acme.on_create = Script(InvalidRequest())
    async with bench.engine() as engine:
        with pytest.raises(InvalidRequest):
            await engine.create(create_request())
    assert len(bench.acme.keys) == 1


async def test_tries_are_bounded(bench: Bench) -> None:
    bench.acme.on_create = Script(Unavailable())
    async with bench.engine(limits=ConnectorLimits(attempts=3)) as engine:
        with pytest.raises(Unavailable):
            await engine.create(create_request())
    assert len(bench.acme.keys) == 3


async def test_retry_after_is_waited_for(bench: Bench) -> None:
    bench.acme.on_create = Script(RateLimited(retry_after=4), None)
    async with bench.engine() as engine:
        await engine.create(create_request())
        assert asyncio.get_running_loop().time() >= 4


async def test_no_try_starts_after_the_caller_s_time(bench: Bench) -> None:
    bench.acme.on_create = Script(RateLimited(retry_after=20))
    async with bench.engine() as engine:
        with pytest.raises(RateLimited):
            await engine.create(create_request(caller=in_seconds(10)))
    assert len(bench.acme.keys) == 1
    assert asyncio.get_running_loop().time() < 1


async def test_tries_go_on_while_the_most_patient_caller_waits(bench: Bench) -> None:
    bench.acme.on_create = Script(*[RateLimited(retry_after=4)] * 3, None)
    async with bench.engine() as engine:
        hasty = asyncio.create_task(engine.create(create_request(caller=in_seconds(10))))
        await anyio.lowlevel.checkpoint()
        assert await engine.create(create_request(caller=in_seconds(30)))
        with pytest.raises(DeadlineExceeded):
            await hasty


async def test_a_refusal_is_no_proof_where_an_earlier_try_is_unknown(bench: Bench) -> None:
    bench.acme.on_create = Script(ConnectorError("broken off"), InvalidRequest("not like this"))
    async with bench.engine() as engine:
        for error in (ConnectorError, InvalidRequest):
            with pytest.raises(error):
                await engine.create(create_request())
    record = await bench.store.find(bench.acme.keys[0])
    assert record is not None
    assert record.state is State.UNKNOWN


async def test_no_deadline_is_longer_than_the_maximum(bench: Bench) -> None:
    bench.acme.on_create = lambda ctx: anyio.sleep(10_000)
    async with bench.engine(max_timeout=20, create_timeout=500) as engine:
        with pytest.raises(DeadlineExceeded):
            await engine.create(create_request(caller=in_seconds(1_000)))
        assert asyncio.get_running_loop().time() == pytest.approx(19.5)


@pytest.mark.parametrize(
    "raised", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()], ids=repr
)
async def test_whatever_a_connector_raises_the_server_goes_on(bench: Bench, raised: BaseException) -> None:
    bench.acme.on_create = Script(raised)
    bench.acme.on_get = Script(raised)
    bench.echo.on_do = Script(raised)
    async with bench.engine() as engine:
        with pytest.raises(ConnectorBug):
            await engine.create(create_request())
        assert (await engine.get(job_request(Job("j").encode()))).phase is Phase.RUNNING
        with pytest.raises(ConnectorBug):
            await engine.do(create_request("echo"))
        bench.acme.on_create = Script(None)
        assert await engine.create(create_request(prefix="s3://next/n0/0"))


# --- keys


async def test_another_attempt_is_another_key(bench: Bench) -> None:
    async with bench.engine() as engine:
        await engine.create(create_request(prefix="s3://bucket/ex1/n0/0"))
        await engine.create(create_request(prefix="s3://bucket/ex1/n0/1"))
    assert len(set(bench.acme.keys)) == 2


async def test_another_cluster_is_another_key(bench: Bench) -> None:
    for namespace in ("a", "b"):
        async with bench.engine(key_namespace=namespace) as engine:
            await engine.create(create_request())
    assert len(set(bench.acme.keys)) == 2


async def test_both_protocols_derive_the_same_key(bench: Bench) -> None:
    async with bench.engine() as engine:
        for protocol in ("flyte1", "flyte2"):
            await engine.create(create_request(caller=Caller(protocol)))
    assert len(bench.acme.keys) == 1


async def test_a_request_without_identity_is_never_a_repeat(bench: Bench) -> None:
    async with bench.engine() as engine:
        for _ in range(2):
            await engine.create(create_request(metadata=TaskExecutionMetadata()))
    assert len(set(bench.acme.keys)) == 2


async def test_an_explicit_key_is_used_in_place_of_the_identity(bench: Bench) -> None:
    caller = Caller("flyte1", idempotency_key="mine")
    async with bench.engine() as engine:
        await engine.create(create_request(prefix="s3://a/n0/0", caller=caller))
        await engine.create(create_request(prefix="s3://b/n0/0", caller=caller))
    assert len(bench.acme.keys) == 1


@pytest.mark.parametrize("while_it_is", ["done", "under way"])
async def test_an_explicit_key_belongs_to_one_request(bench: Bench, while_it_is: str) -> None:
    caller = Caller("flyte1", idempotency_key="mine")
    if while_it_is == "under way":
        bench.acme.on_create = lambda ctx: anyio.sleep(3)
    async with bench.engine() as engine:
        first = asyncio.create_task(engine.create(create_request(inputs={"v": 1}, caller=caller)))
        await anyio.sleep(1)
        with pytest.raises(Conflict):
            await engine.create(create_request(inputs={"v": 2}, caller=caller))
        await first
    assert len(bench.acme.keys) == 1


async def test_an_unknown_task_type_names_the_known_ones(bench: Bench) -> None:
    async with bench.engine() as engine:
        with pytest.raises(NotFound) as raised:
            await engine.create(create_request("nope"))
    assert "nope" in raised.value.message
    assert "acme" in raised.value.message
    assert bench.events[-1].task_type == "unknown"


class TestInRealTime:
    @pytest.fixture
    def anyio_backend(self) -> str:
        """A thread takes real time."""
        return "asyncio"

    @pytest.mark.parametrize("size", ["input_bytes", "template_bytes"])
    @pytest.mark.parametrize("task_type", ["acme", "echo"])
    async def test_a_large_request_under_a_chosen_key_is_hashed_once_and_beside_the_event_loop(
        self, bench: Bench, task_type: str, size: str
    ) -> None:
        read_in: list[threading.Thread] = []

        def inputs() -> dict[str, Any]:
            read_in.append(threading.current_thread())
            return {}

        caller = Caller("flyte2", idempotency_key="k")
        large: dict[str, Any] = {size: 100_000}
        request = replace(create_request(task_type, caller=caller), inputs=inputs, **large)
        async with bench.engine() as engine:
            await engine.create(request)
            await engine.drain()
        assert [thread is threading.current_thread() for thread in read_in].count(False) == 1


class SlowToComplete(UnreachableStore):
    """Takes a second to write down that a job was made."""

    def __init__(self) -> None:
        super().__init__()
        self.completing = asyncio.Event()

    async def complete(self, key: str, *, owner: str, meta: bytes, fingerprint: str = "", adopts: str = "") -> bool:
        self.completing.set()
        await asyncio.sleep(1)
        return await super().complete(key, owner=owner, meta=meta, fingerprint=fingerprint, adopts=adopts)


async def test_a_server_that_ends_while_a_jobs_meta_is_written_down_writes_it_down_and_answers(bench: Bench) -> None:
    bench.store = store = SlowToComplete()
    await store.start()
    async with bench.engine() as engine:
        creating = asyncio.create_task(engine.create(create_request()))
        await store.completing.wait()
    meta = await creating
    (key,) = bench.acme.keys
    record = await store.find(key)
    assert record is not None
    assert (record.state, record.meta) == (State.DONE, meta)
