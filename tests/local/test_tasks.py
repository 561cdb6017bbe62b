"""Tasks in Python: called in a script, awaited under a running event loop, and what they return and raise."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from connectors import (
    ConnectorError,
    Container,
    Context,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Phase,
    Resource,
    Sql,
    TaskTemplate,
    Unauthenticated,
)
from connectors.local import (
    AsyncConnectorExecutorMixin,
    ConnectorTask,
    InProcess,
    Progress,
    RunOptions,
    TaskFailed,
    TaskTimedOut,
    ThroughServer,
    shown_meta,
)
from connectors.testing.platform import FakePlatform, Fault, Job, JobState, NativeConnector, PlatformSettings
from connectors.testing.server import ConnectorServer
from tests.local.words import Echo, Silent


class InAnotherThread:
    """A platform whose event loop runs in a thread of its own, since the test's thread is the script's."""

    def __init__(self, portal: BlockingPortal, platform: FakePlatform) -> None:
        self._portal = portal
        self._platform = platform
        self.url = platform.url

    def jobs(self) -> tuple[Job, ...]:
        return self._portal.call(self._platform.jobs)

    def states(self) -> list[JobState]:
        return [each.state for each in self.jobs()]

    def set_fault(self, fault: Fault) -> None:
        self._portal.call(self._platform.set_fault, fault)

    def clear_faults(self) -> None:
        self._portal.call(self._platform.clear_faults)


@pytest.fixture
def running_platform() -> Iterator[InAnotherThread]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(FakePlatform()) as platform:
        yield InAnotherThread(portal, platform)


def in_process(platform: FakePlatform | InAnotherThread, **options: Any) -> RunOptions:
    connector = NativeConnector(PlatformSettings(url=platform.url))
    return RunOptions(poll_interval=0.05, via=lambda: InProcess(connectors=[connector, Echo(), Silent()]), **options)


def job(platform: FakePlatform | InAnotherThread, *, options: RunOptions | None = None, **custom: Any) -> ConnectorTask:
    local_run = options or in_process(platform)
    return ConnectorTask("job", "platform_native", outputs={"o0": str}, config=custom, local_run=local_run)


# --- called


def test_a_call_returns_the_value_of_a_single_output(running_platform: InAnotherThread) -> None:
    assert job(running_platform, duration=0.1)() == running_platform.jobs()[0].id


def test_a_call_gives_the_inputs(running_platform: InAnotherThread) -> None:
    options = in_process(running_platform)
    echo = ConnectorTask("e", "echo", inputs={"v": list[int]}, outputs={"o0": list[int]}, local_run=options)
    assert echo(v=[1, 2]) == [1, 2]


def test_a_call_of_a_task_without_outputs_returns_none(running_platform: InAnotherThread) -> None:
    assert ConnectorTask("s", "silent", local_run=in_process(running_platform))() is None


@pytest.mark.parametrize("outcome", ["FAILED", "PREEMPTED"])
def test_a_call_of_a_task_that_fails_raises_what_it_came_to(running_platform: InAnotherThread, outcome: str) -> None:
    said = rf"^the task job ended in \w+ after .* s: the job is {outcome} \(its job: .*job-000001.*\)$"
    with pytest.raises(TaskFailed, match=said) as raised:
        job(running_platform, outcome=outcome, duration=0.0)()
    assert raised.value.outcome.phase in {Phase.FAILED, Phase.RETRYABLE_FAILED}
    assert not isinstance(raised.value, TimeoutError)


def test_a_call_that_takes_too_long_deletes_the_job_and_raises_timeout(running_platform: InAnotherThread) -> None:
    with pytest.raises(TimeoutError, match="its job was deleted") as raised:
        job(running_platform, duration=60, options=in_process(running_platform, timeout=0.4))()
    assert isinstance(raised.value, TaskTimedOut)
    assert running_platform.states() == [JobState.CANCELLED]


def test_a_timeout_whose_job_could_not_be_deleted_names_the_job(running_platform: InAnotherThread) -> None:
    running_platform.set_fault(Fault("hang", ("cancel",), seconds=30))
    options = in_process(running_platform, timeout=0.4, end_within=0.2)
    with pytest.raises(TaskTimedOut, match=r"may still run: .*job-000001"):
        job(running_platform, duration=60, options=options)()
    running_platform.clear_faults()


def test_an_error_of_a_call_comes_without_the_frames_within(running_platform: InAnotherThread) -> None:
    running_platform.set_fault(Fault("answer", ("submit",), status=401))
    with pytest.raises(Unauthenticated) as raised:
        job(running_platform)()
    assert len(traceback.format_exception(raised.value)) < 10


def test_a_bug_of_the_connector_in_a_call_keeps_its_own_frames(caplog: pytest.LogCaptureFixture) -> None:
    class Crashing(Echo):
        def do(self, task: TaskTemplate, ctx: Context) -> Resource:
            raise ZeroDivisionError("here")

    options = RunOptions(via=lambda: InProcess(connectors=[Crashing()]))
    with pytest.raises(ConnectorError, match="its traceback is logged here, as error id") as raised:
        ConnectorTask("e", "echo", local_run=options)()
    assert 'raise ZeroDivisionError("here")' in "".join(traceback.format_exception(raised.value))
    assert "ZeroDivisionError: here" in caplog.text


def test_a_call_with_a_wrong_input_says_so(running_platform: InAnotherThread) -> None:
    with pytest.raises(InvalidRequest, match="no input 'w'"):
        ConnectorTask("e", "echo", inputs={"v": int}, local_run=in_process(running_platform))(w=1)


@pytest.mark.anyio
async def test_a_call_under_a_running_event_loop_says_what_to_do(platform: FakePlatform) -> None:
    with pytest.raises(RuntimeError, match=r"await task\.run"):
        job(platform)()
    assert platform.jobs() == ()


# --- awaited


@pytest.mark.anyio
async def test_run_is_awaited_under_a_running_event_loop(platform: FakePlatform) -> None:
    first, second = await asyncio.gather(job(platform, duration=0.1).run(), job(platform, duration=0.1).run())
    assert {first, second} == {each.id for each in platform.jobs()}


@pytest.mark.anyio
async def test_outcome_raises_nothing_for_a_task_that_fails(platform: FakePlatform) -> None:
    outcome = await job(platform, outcome="FAILED", duration=0).outcome()
    assert (outcome.phase, outcome.succeeded) == (Phase.FAILED, False)


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])
async def test_a_task_is_run_through_a_server_with_the_same_outputs(platform: FakePlatform, protocol: str) -> None:
    async with ConnectorServer(Echo()) as server:
        through = RunOptions(poll_interval=0.05, via=lambda: ThroughServer.at(server.address, protocol=protocol))
        echo = ConnectorTask("e", "echo", inputs={"v": dict[str, float]}, outputs={"o0": dict[str, float]})
        echo.local_run = in_process(platform)
        here = await echo.run(v={"a": 1})
        echo.local_run = through
        assert await echo.run(v={"a": 1}) == here == {"a": 1.0}


@pytest.mark.anyio
async def test_each_run_has_a_folder_of_its_own_under_the_prefix(platform: FakePlatform, tmp_path: Path) -> None:
    options = in_process(platform, output_prefix=f"{tmp_path}/runs/")
    task = ConnectorTask(
        "s", "silent", container=Container(args=("{{.runName}}", "{{.outputPrefix}}")), local_run=options
    )
    metas = {shown_meta((await task.outcome()).meta) for _ in range(2)}
    folders = {each.name for each in (tmp_path / "runs").iterdir()}
    assert len(folders) == 2
    assert metas == {f'{{"args":["{name}","{tmp_path}/runs/{name}"]}}' for name in folders}


@pytest.mark.anyio
async def test_progress_is_told_to_the_task_s_own_listener(platform: FakePlatform) -> None:
    told: list[Progress] = []
    await job(platform, duration=0, options=in_process(platform, on_progress=told.append)).run()
    assert told[-1].phase is Phase.SUCCEEDED


# --- the template


def test_a_task_is_the_template_that_a_backend_would_send() -> None:
    class Config:
        def to_custom(self) -> dict[str, Any]:
            return {"size": 3}

    template = ConnectorTask("daily", "acme", task_type_version=2, config=Config(), sql="SELECT 1").connector_task()
    assert (template.type, template.task_type_version, template.id.name) == ("acme", 2, "daily")
    assert (template.custom, template.sql) == ({"size": 3}, Sql("SELECT 1"))


@pytest.mark.anyio
async def test_a_class_of_ones_own_needs_its_template_alone(platform: FakePlatform) -> None:
    class Nightly(AsyncConnectorExecutorMixin):
        local_run = in_process(platform)

        def connector_task(self) -> TaskTemplate:
            return TaskTemplate("platform_native", custom={"duration": 0})

    assert await Nightly().run() == platform.jobs()[0].id


@pytest.mark.anyio
async def test_a_class_without_a_template_says_what_it_lacks() -> None:
    class Nothing(AsyncConnectorExecutorMixin):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing must define connector_task\(\)"):
        await Nothing().run()


# --- in process


@pytest.mark.anyio
async def test_the_installed_plugins_are_used_with_the_settings_of_the_environment(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONNECTORS_DENY_TASK_TYPES", "webhook")
    call = ConnectorTask("c", "webhook", local_run=RunOptions(poll_interval=0.05))
    with pytest.raises(NotFound, match=r"'webhook' in version 0; there are: .*bigquery_query_job_task"):
        await call.run()


@pytest.mark.anyio
async def test_a_setting_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_CREATE_TIMEOUT", "soon")
    with pytest.raises(FailedPrecondition, match="CONNECTORS_CREATE_TIMEOUT"):
        await ConnectorTask("c", "webhook").run()


@pytest.mark.anyio
async def test_a_connector_that_does_not_start_says_why() -> None:
    class Broken(Echo):
        task_type = "broken"

        async def start(self, http: Any) -> None:
            raise OSError("no such disk")

    async with InProcess(connectors=[Broken()]) as via:
        with pytest.raises(FailedPrecondition, match="did not start: OSError: no such disk"):
            await via.do(TaskTemplate("broken"), {})


@pytest.mark.anyio
async def test_connectors_are_closed_with_the_run_and_those_not_used_are_never_started() -> None:
    seen: list[str] = []

    class Told(Echo):
        async def start(self, http: Any) -> None:
            seen.append(f"{self.task_type} started")

        async def aclose(self) -> None:
            seen.append(f"{self.task_type} closed")

    class Other(Told):
        task_type = "other"

    async with InProcess(connectors=[Told(), Other()]) as via:
        await via.do(TaskTemplate("echo", custom={"fails": "FAILED"}), {})
    assert seen == ["echo started", "echo closed"]


def test_importing_the_package_loads_neither_the_engine_nor_the_messages() -> None:
    code = """
import sys
import connectors.local, connectors_bigquery, connectors_databricks, connectors_http, connectors_openai
import connectors_snowflake
heavy = ("connectors._engine.engine", "connectors._messages", "connectors._settings", "betterproto2", "grpclib")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
