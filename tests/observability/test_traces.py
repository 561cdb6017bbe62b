"""Traces of a real server, as they arrive at a collector: over gRPC from the caller, over HTTP to the platform."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import grpc.aio
import pytest
from aiohttp import web
from flyteidl.admin import agent_pb2
from flyteidl.core import tasks_pb2
from flyteidl.service import agent_pb2_grpc

from connectors import AsyncConnectorBase, Context, Phase, Resource, ResourceMeta, TaskTemplate
from connectors._engine.events import CallEvent
from connectors._engine.requests import Caller
from connectors._observability import traces
from connectors.http import error_for_status
from connectors.testing.server import ConnectorServer
from tests.observability.collector import Collector, collecting

pytestmark = pytest.mark.anyio

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = ("traceparent", f"00-{TRACE}-{CALLER}-01")
SECRET = "fake-token-0123456789"


class Platform:
    """Answers every request, and keeps the headers that came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.seen: list[Any] = []


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async def answer(request: web.Request) -> web.Response:
        found.seen.append(request.headers.copy())
        return web.json_response({}, status=found.status)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found = Platform(f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield found
    await runner.cleanup()


@dataclass(frozen=True)
class Job(ResourceMeta):
    name: str


class Asking(AsyncConnectorBase[Job]):
    task_type = "asking"

    def __init__(self, platform: Platform) -> None:
        super().__init__()
        self.url = f"{platform.url}/jobs/{SECRET}?key={SECRET}"

    async def ask(self, ctx: Context, headers: dict[str, str] | None = None) -> None:
        answer = await ctx.http.request("GET", self.url, headers=headers)
        if answer.status != 200:
            raise error_for_status(answer.status, "the platform said so")

    async def create(self, task: TaskTemplate, ctx: Context) -> Job:
        await self.ask(ctx, {"Authorization": f"Bearer {SECRET}"})
        return Job("j")

    async def get(self, job: Job, ctx: Context) -> Resource:
        await self.ask(ctx)
        return Resource(Phase.RUNNING)

    def delete(self, job: Job, ctx: Context) -> None:
        ctx.wait(self.ask(ctx, {"Traceparent": "own"}))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


async def call(server: ConnectorServer, method: str, *metadata: tuple[str, str]) -> None:
    category = agent_pb2.TaskCategory(name="asking")
    requests = {
        "CreateTask": agent_pb2.CreateTaskRequest(
            template=tasks_pb2.TaskTemplate(type="asking"), output_prefix="s3://b/e/n0/0"
        ),
        "GetTask": agent_pb2.GetTaskRequest(task_category=category, resource_meta=Job("j").encode()),
        "DeleteTask": agent_pb2.DeleteTaskRequest(task_category=category, resource_meta=Job("j").encode()),
    }
    async with grpc.aio.insecure_channel(server.address) as channel:
        await getattr(agent_pb2_grpc.AsyncAgentServiceStub(channel), method)(requests[method], metadata=metadata)


async def traced(platform: Platform, method: str, *metadata: tuple[str, str], **settings: Any) -> None:
    """One call of a server that is ended afterwards: by then its spans were sent."""
    async with ConnectorServer(Asking(platform), **settings) as server:
        await call(server, method, *metadata)


@pytest.mark.parametrize("method", ["CreateTask", "GetTask"])
async def test_the_caller_s_trace_goes_on_to_the_platform_s_request(
    collector: Collector, platform: Platform, method: str
) -> None:
    await traced(platform, method, PARENT)
    rpc, request = collector.one("SERVER"), collector.one("CLIENT")
    assert (rpc.trace, rpc.parent) == (TRACE, CALLER)
    assert (request.trace, request.parent) == (TRACE, rpc.span)
    assert [each["traceparent"] for each in platform.seen] == [f"00-{TRACE}-{request.span}-01"]


async def test_a_method_that_runs_in_a_thread_is_in_the_trace(collector: Collector, platform: Platform) -> None:
    await traced(platform, "DeleteTask", PARENT)
    assert collector.one("CLIENT").parent == collector.one("SERVER").span


async def test_a_header_that_the_connector_sends_itself_stays(collector: Collector, platform: Platform) -> None:
    await traced(platform, "DeleteTask", PARENT)
    assert [each.getall("traceparent") for each in platform.seen] == [["own"]]


async def test_a_call_without_a_trace_begins_one(collector: Collector, platform: Platform) -> None:
    await traced(platform, "GetTask")
    rpc, request = collector.one("SERVER"), collector.one("CLIENT")
    assert rpc.parent == ""
    assert request.trace == rpc.trace != TRACE


async def test_a_call_that_follows_another_in_the_same_task_is_not_its_child(collector: Collector) -> None:
    tracing = traces.open_tracing({"OTEL_TRACES_EXPORTER": "otlp"}, "1")
    assert tracing is not None
    for _ in range(2):
        span = tracing.call("get", "asking", Caller("local"))
        span.end(CallEvent("get", "asking", "local", "OK", 0.1))
    await tracing.aclose(5)
    first, second = collector.spans
    assert (first.kind, first.parent, second.parent) == ("INTERNAL", "", "")
    assert first.trace != second.trace


async def test_a_call_s_span_says_what_the_conventions_of_rpcs_say(collector: Collector, platform: Platform) -> None:
    await traced(platform, "GetTask", PARENT)
    rpc = collector.one("SERVER")
    assert rpc.name == "flyteidl.service.AsyncAgentService/GetTask"
    wanted = {
        "rpc.system.name": "grpc",
        "rpc.method": rpc.name,
        "rpc.response.status_code": "OK",
        "client.address": "127.0.0.1",
        "connectors.operation": "get",
        "connectors.task_type": "asking",
        "connectors.phase": "RUNNING",
        "connectors.attempts": 1,
    }
    assert wanted.items() <= rpc.about.items()
    assert not rpc.failed
    assert rpc.resource["service.name"] == "connectors"
    assert rpc.resource["service.version"]


async def test_a_request_s_span_says_what_the_conventions_of_http_say(collector: Collector, platform: Platform) -> None:
    await traced(platform, "GetTask")
    request = collector.one("CLIENT")
    assert request.name == "GET"
    assert request.about == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": int(platform.url.rpartition(":")[2]),
    }


async def test_a_call_that_fails_has_failed_spans(collector: Collector, platform: Platform) -> None:
    platform.status = 503
    with pytest.raises(grpc.aio.AioRpcError, match="the platform said so"):
        await traced(platform, "CreateTask", connector_attempts=1)
    rpc, request = collector.one("SERVER"), collector.one("CLIENT")
    assert (rpc.failed, rpc.about["rpc.response.status_code"], rpc.about["error.type"]) == (
        True,
        "UNAVAILABLE",
        "Unavailable",
    )
    assert (request.failed, request.about["error.type"]) == (True, "503")


async def test_a_poll_whose_fault_is_hidden_tells_it_and_has_not_failed(
    collector: Collector, platform: Platform
) -> None:
    platform.status = 503
    await traced(platform, "GetTask", connector_attempts=1)
    rpc = collector.one("SERVER")
    assert (rpc.failed, rpc.about["connectors.shielded"], rpc.about["connectors.fault"]) == (False, True, "Unavailable")


async def test_each_try_has_a_span_of_its_own(collector: Collector, platform: Platform) -> None:
    platform.status = 503
    await traced(platform, "GetTask", connector_attempts=3)
    requests = [each for each in collector.spans if each.kind == "CLIENT"]
    assert len(requests) == len(platform.seen) == 3
    assert {each.parent for each in requests} == {collector.one("SERVER").span}


async def test_no_secret_is_sent_to_the_collector(collector: Collector, platform: Platform) -> None:
    await traced(platform, "CreateTask", PARENT, ("authorization", f"Bearer {SECRET}"), ("baggage", f"key={SECRET}"))
    assert collector.spans
    assert not any(SECRET.encode() in body for body in collector.bodies)


async def test_the_caller_s_baggage_goes_to_no_platform(collector: Collector, platform: Platform) -> None:
    await traced(platform, "GetTask", PARENT, ("baggage", "customer=5"))
    assert [("traceparent" in each, "baggage" in each) for each in platform.seen] == [(True, False)]


async def test_what_the_caller_does_not_sample_is_not_sent_and_its_trace_goes_on(
    collector: Collector, platform: Platform
) -> None:
    await traced(platform, "GetTask", ("traceparent", f"00-{TRACE}-{CALLER}-00"))
    assert collector.spans == []
    assert [(each["traceparent"][:35], each["traceparent"][-3:]) for each in platform.seen] == [(f"00-{TRACE}", "-00")]


@pytest.mark.parametrize("parent", ["", "00-x-y-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 4_000])
async def test_a_trace_that_cannot_be_read_is_as_none(collector: Collector, platform: Platform, parent: str) -> None:
    await traced(platform, "GetTask", ("traceparent", parent))
    assert collector.one("SERVER").parent == ""


async def test_the_standard_variables_say_whose_spans_they_are(
    collector: Collector, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "our-connectors")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    await traced(platform, "GetTask")
    resource = collector.one("SERVER").resource
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("our-connectors", "staging")


async def test_a_collector_that_is_not_there_harms_no_call_and_holds_no_end_up(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:  # bound, and nobody listens
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with anyio.fail_after(30):
            await traced(platform, "GetTask", PARENT)
    assert len(platform.seen) == 1


async def test_without_the_variables_nothing_is_sent_on(platform: Platform) -> None:
    await traced(platform, "GetTask", PARENT)
    assert ["traceparent" in each for each in platform.seen] == [False]


def test_without_the_variables_nothing_of_opentelemetry_is_imported() -> None:
    code = """
        import asyncio, sys
        from connectors.testing.platform import CONNECTORS
        from connectors.testing.server import ConnectorServer

        async def main():
            async with ConnectorServer(*(each() for each in CONNECTORS.values())):
                print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {**ON, "OTEL_SDK_DISABLED": "true"},
        {**ON, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_traces_are_not_wanted(environment: dict[str, str]) -> None:
    assert traces.open_tracing(environment, "1") is None
    assert traces.doubts(environment) == []


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER=console is not offered"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not offered"),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "PROTOCOL=http/json is not offered"),
    ],
)
def test_what_is_not_offered_is_said_and_sends_nothing(more: dict[str, str], named: str) -> None:
    (doubt,) = traces.doubts(ON | more)
    assert named in doubt
    assert traces.open_tracing(ON | more, "1") is None


async def test_a_server_warns_of_what_is_not_offered_and_serves(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    await traced(platform, "GetTask", PARENT)
    assert len(platform.seen) == 1
    warned = [line.getMessage() for line in caplog.records if line.levelname == "WARNING"]
    assert [line for line in warned if line.startswith("OTEL_TRACES_EXPORTER=console is not offered")]


def test_the_traces_own_protocol_goes_before_that_of_all_signals() -> None:
    own = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
    assert traces.doubts(ON | own) == []


def test_packages_that_are_missing_are_named_and_keep_nothing_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert traces.doubts(ON) == ["OTEL_…: traces need what the extra installs: pip install 'connectors-service[otel]'"]
    assert traces.open_tracing(ON, "1") is None
