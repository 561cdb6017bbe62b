"""The metrics of a real server: real gRPC calls, a real platform over HTTP, and what the metrics port then says."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from connectors import (
    AsyncConnectorBase,
    Context,
    HttpClient,
    Phase,
    Resource,
    ResourceMeta,
    SyncConnectorBase,
    TaskCategory,
    TaskTemplate,
)
from connectors.client import ConnectorClient
from connectors.testing.fixtures import Serve
from connectors.testing.platform import FakePlatform, Fault, NativeConnector, PlatformSettings
from tests.observability.scraping import Page, scrape

pytestmark = pytest.mark.anyio

NATIVE = NativeConnector.task_type
PLATFORM = {"plugin": NATIVE, "task_type": NATIVE}


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    async with FakePlatform(seed=7) as started:
        yield started


def native(platform: FakePlatform) -> NativeConnector:
    return NativeConnector(PlatformSettings(platform.url))


class Echo(SyncConnectorBase):
    task_type = "echo"

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        return Resource(Phase.SUCCEEDED, outputs=dict(ctx.inputs))


@dataclass(frozen=True)
class Job(ResourceMeta):
    name: str


class Blocking(AsyncConnectorBase[Job]):
    """A plain def that waits until it is told to go on, in a thread."""

    task_type = "blocking"

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()

    def create(self, task: TaskTemplate, ctx: Context) -> Job:
        return Job("j")

    def get(self, job: Job, ctx: Context) -> Resource:
        self.entered.release()
        self.go_on.wait(30)
        return Resource(Phase.RUNNING)

    def delete(self, job: Job, ctx: Context) -> None:
        pass


class Heavy(SyncConnectorBase):
    """Computes on the event loop, as no connector should."""

    task_type = "heavy"

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        time.sleep(0.9)  # noqa: ASYNC251 - the fault that is to be found
        return Resource(Phase.SUCCEEDED)


async def create(client: ConnectorClient, task_type: str = NATIVE, *, prefix: str = "s3://b/run/n0/0") -> bytes:
    return await client.create(TaskTemplate(task_type), {}, output_prefix=prefix, idempotency_key="one job")


async def until(http: HttpClient, address: str, is_so: Callable[[Page], bool]) -> Page:
    """The first page that is so."""
    with anyio.fail_after(30):
        while True:
            page = await scrape(http, address)
            if is_so(page):
                return page
            await asyncio.sleep(0.02)


def blocked_lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged of the event loop. A busy machine may hold it too."""
    return [each for each in caplog.records if each.__dict__.get("fields", {}).get("event") == "event_loop_blocked"]


async def test_requests_to_a_platform_are_counted_by_plugin_and_status(
    serve: Serve, platform: FakePlatform, http: HttpClient
) -> None:
    server = await serve(native(platform))
    async with server.client() as client:
        meta = await create(client)
        platform.set_fault(Fault("answer", ("get",), status=503, times=1))
        await client.get(TaskCategory(NATIVE), meta)
    page = await scrape(http, server.metrics)
    name = "flyte_connector_platform_requests_total"
    assert page.value(name, PLATFORM, status="503") == 1
    assert page.value(name, PLATFORM, status="200") == 1
    seconds = "flyte_connector_platform_request_duration_seconds_count"
    assert page.value(seconds, PLATFORM) == sum(page.value(name, each) or 0 for each in page.series(name))


async def test_a_request_without_an_answer_is_counted_by_why_there_is_none(
    serve: Serve, platform: FakePlatform, http: HttpClient
) -> None:
    server = await serve(NativeConnector(PlatformSettings(platform.url, timeout=0.2)), connector_attempts=1)
    async with server.client() as client:
        meta = await create(client)
        for action in ("lose", "hang"):
            platform.set_fault(Fault(action, ("get",)))
            await client.get(TaskCategory(NATIVE), meta)
            platform.clear_faults()
    page = await scrape(http, server.metrics)
    name = "flyte_connector_platform_requests_total"
    assert page.value(name, PLATFORM, status="unreachable") == 1
    assert page.value(name, PLATFORM, status="timeout") == 1


async def test_a_rate_limit_is_counted_with_the_time_that_is_lost_to_it(
    serve: Serve, platform: FakePlatform, http: HttpClient
) -> None:
    server = await serve(native(platform))
    platform.set_fault(Fault("answer", ("submit",), status=429, retry_after="1", times=1))
    async with server.client() as client:
        await create(client)
    page = await scrape(http, server.metrics)
    assert page.value("flyte_connector_rate_limited_total", task_type=NATIVE) == 1
    lost = page.value("flyte_connector_rate_limited_seconds_total", task_type=NATIVE)
    assert lost is not None
    assert 1.0 <= lost <= 1.2


async def test_a_platform_that_answers_numbers_that_http_does_not_know_makes_one_series(
    serve: Serve, platform: FakePlatform, http: HttpClient
) -> None:
    server = await serve(native(platform), connector_attempts=1)
    async with server.client() as client:
        meta = await create(client)
        for status in range(600, 640):
            platform.set_fault(Fault("answer", ("get",), status=status, times=1))
            await client.get(TaskCategory(NATIVE), meta)
    page = await scrape(http, server.metrics)
    statuses = {each["status"] for each in page.series("flyte_connector_platform_requests_total")}
    assert statuses <= {"200", "201", "other"}
    assert page.value("flyte_connector_platform_requests_total", PLATFORM, status="other") == 40


async def test_polls_of_a_platform_that_fails_show_how_long_the_fault_stands(
    serve: Serve, platform: FakePlatform, http: HttpClient
) -> None:
    server = await serve(native(platform), connector_attempts=1)
    async with server.client() as client:
        meta = await create(client)
        platform.set_fault(Fault("answer", ("get",), status=503))
        await client.get(TaskCategory(NATIVE), meta)
        await asyncio.sleep(0.3)
        page = await scrape(http, server.metrics)
        assert page.value("flyte_connector_shielded_total", task_type=NATIVE, error="Unavailable") == 1
        assert page.value("flyte_connector_shielded_jobs", task_type=NATIVE) == 1
        age = page.value("flyte_connector_shielded_age_seconds", task_type=NATIVE)
        assert age is not None
        assert age >= 0.3
        platform.clear_faults()
        await client.get(TaskCategory(NATIVE), meta)
    page = await scrape(http, server.metrics)
    assert page.value("flyte_connector_shielded_jobs", task_type=NATIVE) == 0
    assert page.value("flyte_connector_shielded_age_seconds", task_type=NATIVE) == 0


async def test_what_came_of_keys_is_counted(serve: Serve, platform: FakePlatform, http: HttpClient) -> None:
    server = await serve(native(platform))
    async with server.client() as client:
        for _ in range(3):
            await create(client)
    page = await scrape(http, server.metrics)
    assert page.value("flyte_connector_idempotency_total", task_type=NATIVE, outcome="new") == 1
    assert page.value("flyte_connector_idempotency_total", task_type=NATIVE, outcome="repeated") == 2


async def test_the_store_s_calls_are_measured_by_operation(
    serve: Serve, platform: FakePlatform, http: HttpClient
) -> None:
    server = await serve(native(platform))
    async with server.client() as client:
        await create(client)
    page = await scrape(http, server.metrics)
    for operation in ("reserve", "complete"):
        assert page.value("flyte_connector_store_duration_seconds_count", operation=operation) == 1
    assert page.series("flyte_connector_store_errors_total") == []
    assert page.value("flyte_connector_store_up") == 1


async def test_a_call_is_measured_in_buckets_by_task_type_and_operation(serve: Serve, http: HttpClient) -> None:
    server = await serve(Echo())
    async with server.client() as client:
        await client.do(TaskTemplate("echo"), {})
    page = await scrape(http, server.metrics)
    name, of = "flyte_connector_request_duration_seconds", {"task_type": "echo", "operation": "do"}
    assert page.value(f"{name}_count", of) == 1
    bounds = sorted(float(each["le"]) for each in page.series(f"{name}_bucket") if of.items() <= each.items())
    assert (bounds[0], bounds[-2]) == (0.005, 60.0)


async def test_threads_show_who_runs_and_who_waits(serve: Serve, http: HttpClient) -> None:
    blocking = Blocking()
    server = await serve(blocking, connector_threads=2)
    async with server.client() as client, anyio.create_task_group() as callers:
        for number in range(5):
            callers.start_soon(client.get, TaskCategory("blocking"), Job(str(number)).encode())
        for _ in range(2):
            await asyncio.to_thread(blocking.entered.acquire)

        waiting = "flyte_connector_threads_waiting", {"task_type": "blocking"}
        page = await until(http, server.metrics, lambda page: page.value(*waiting) == 3)
        blocking.go_on.set()
    assert page.value("flyte_connector_threads_busy", task_type="blocking") == 2
    assert page.value("flyte_connector_admission_taken", task_type="blocking") == 5
    assert page.value("flyte_connector_in_flight", task_type="blocking", operation="get") == 5
    assert page.value("flyte_connector_threads_limit", task_type="blocking") == 2
    page = await scrape(http, server.metrics)
    assert page.value("flyte_connector_threads_busy", task_type="blocking") == 0


async def test_a_connector_that_holds_the_event_loop_is_named(
    serve: Serve, http: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(Heavy(), Echo())
    async with server.client() as client:
        await client.do(TaskTemplate("heavy"), {})
        blocked = "flyte_connector_event_loop_blocked_total", {"task_type": "heavy"}
        page = await until(http, server.metrics, lambda page: page.value(*blocked) == 1)
    (line,) = (each for each in blocked_lines(caplog) if each.__dict__["fields"].get("task_type") == "heavy")
    assert line.levelname == "WARNING"
    assert line.getMessage().startswith("the connector of heavy held the event loop for ")
    assert line.__dict__["fields"]["at"].startswith(f"{__name__}.do:")
    lag = "flyte_connector_event_loop_lag_seconds"
    in_time, all_of_them = page.value(f"{lag}_bucket", le="0.5"), page.value(f"{lag}_count")
    assert in_time is not None
    assert all_of_them is not None
    assert all_of_them > in_time


async def test_an_event_loop_that_is_held_by_no_connector_is_told_with_the_calls_under_way(
    serve: Serve, http: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    blocking = Blocking()
    server = await serve(blocking)
    async with server.client() as client, anyio.create_task_group() as callers:
        callers.start_soon(client.get, TaskCategory("blocking"), Job("j").encode())
        await asyncio.to_thread(blocking.entered.acquire)
        time.sleep(0.9)  # noqa: ASYNC251 - the fault that is to be found
        blocked = "flyte_connector_event_loop_blocked_total", {"task_type": "unknown"}
        await until(http, server.metrics, lambda page: page.value(*blocked) is not None)
        blocking.go_on.set()
    assert any(
        "calls under way: blocking" in line.getMessage() and line.__dict__["fields"]["task_types"] == ["blocking"]
        for line in blocked_lines(caplog)
    )


async def test_open_connections_are_counted(serve: Serve, http: HttpClient) -> None:
    server = await serve(Echo())
    async with server.client() as one, server.client() as two:
        for client in (one, two):
            await client.do(TaskTemplate("echo"), {})
        assert (await scrape(http, server.metrics)).value("flyte_connector_connections") == 2
    await until(http, server.metrics, lambda page: page.value("flyte_connector_connections") == 0)


async def test_connectors_that_are_served_are_described(serve: Serve, http: HttpClient) -> None:
    server = await serve(Echo(), Blocking())
    page = await scrape(http, server.metrics)
    served = {(each["task_type"], each["kind"]) for each in page.series("flyte_connector_connector_info")}
    assert served == {("echo", "sync"), ("blocking", "async")}
    assert page.value("flyte_connector_ready") == 1


OF_THE_TIME = (
    "flyte_connector_event_loop_blocked",  # a busy machine may hold the event loop
    "flyte_connector_store_duration_seconds",  # the reaper looks into the store every few seconds; the flood never does
)
"""What comes with time, and not with the calls."""


async def test_a_flood_of_made_up_task_types_methods_and_hosts_adds_no_series(serve: Serve, http: HttpClient) -> None:
    server = await serve(Echo())

    async def flood(numbers: range) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        async with server.client() as client, grpc.aio.insecure_channel(server.address) as channel:
            for number in numbers:
                for call in (
                    client.create(TaskTemplate(f"made-up-{number}"), {}),
                    client.do(TaskTemplate(f"made-up-{number}"), {}),
                    client.get(TaskCategory(f"made-up-{number}"), b"{}"),
                    client.delete(TaskCategory(f"made-up-{number}"), b"{}"),
                ):
                    with pytest.raises(Exception, match="made-up"):
                        await call
                method: Any = channel.unary_unary(f"/made.up.Service{number}/M{number}")
                with pytest.raises(grpc.aio.AioRpcError, match="unknown method"):
                    await method(b"")
                await http.request(
                    "GET", f"http://{server.metrics}/made-up-{number}", headers={"Host": f"made-up-{number}.example"}
                )
        page = await scrape(http, server.metrics)
        return {sample for sample in page.samples if not sample[0].startswith(OF_THE_TIME)}

    few = await flood(range(3))
    assert await flood(range(3, 100)) == few


async def test_promtool_has_nothing_to_say_of_a_server_s_page(
    serve: Serve, platform: FakePlatform, http: HttpClient
) -> None:
    server = await serve(native(platform), Echo())
    async with server.client() as client:
        meta = await create(client)
        platform.set_fault(Fault("answer", ("get",), status=429, times=1))
        await client.get(TaskCategory(NATIVE), meta)
        await client.do(TaskTemplate("echo"), {})
    page = await scrape(http, server.metrics)
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool comes with Debian's package prometheus"
    checked = await anyio.run_process([promtool, "check", "metrics"], input=page.text.encode(), check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
