"""The polling loop, in process and through a server, and what becomes of the job on its platform."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from connectors import (
    ConnectorError,
    FailedPrecondition,
    Interface,
    InvalidRequest,
    LiteralType,
    NotFound,
    Phase,
    Schema,
    StructuredDataset,
    TaskTemplate,
    Unavailable,
)
from connectors.local import Calls, InProcess, Outcome, Progress, TaskTimedOut, run_task
from connectors.testing.platform import FakePlatform, Fault, JobState
from tests.local.conftest import TEXT, connectors_of, job_task, states, until
from tests.local.words import Buggy

pytestmark = pytest.mark.anyio
QUICK: Mapping[str, Any] = {"poll_interval": 0.05}


async def run(task: TaskTemplate, via: Calls, **options: Any) -> Outcome:
    return await run_task(task, options.pop("inputs", {}), via=via, **{**QUICK, **options})


# --- ways to end


async def test_success_brings_the_outputs(via: Calls, platform: FakePlatform) -> None:
    outcome = await run(job_task(duration=0.2), via)
    assert outcome.succeeded
    assert (outcome.phase, outcome.outputs) == (Phase.SUCCEEDED, {"o0": platform.jobs()[0].id})
    assert states(platform) == [JobState.SUCCEEDED]


@pytest.mark.parametrize(
    ("outcome", "phase"), [("FAILED", Phase.FAILED), ("PREEMPTED", Phase.RETRYABLE_FAILED)], ids=["failed", "retryable"]
)
async def test_a_failure_of_either_kind_ends_it(via: Calls, platform: FakePlatform, outcome: str, phase: Phase) -> None:
    ended = await run(job_task(duration=0.1, outcome=outcome), via)
    assert (ended.phase, ended.succeeded, ended.outputs) == (phase, False, {})
    assert outcome in ended.message
    assert states(platform) == [JobState(outcome)]
    assert platform.jobs()[0].cancelled_at is None


async def test_a_job_that_somebody_else_cancels_ends_it(via: Calls, platform: FakePlatform) -> None:
    async with anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await until(platform, bool)
            platform.end(platform.jobs()[0].id, JobState.CANCELLED)

        tasks.start_soon(cancel)
        assert (await run(job_task(duration=60), via)).phase is Phase.ABORTED


async def test_a_sync_connectors_task_is_run_the_same_way(via: Calls) -> None:
    task = TaskTemplate("echo", interface=Interface({"v": LiteralType("integer")}, {"o0": LiteralType("integer")}))
    outcome = await run(task, via, inputs={"v": 7})
    assert (outcome.phase, outcome.value) == (Phase.SUCCEEDED, 7)


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.RETRYABLE_FAILED])
async def test_a_sync_connectors_failure_is_an_outcome(via: Calls, phase: Phase) -> None:
    outcome = await run(TaskTemplate("echo", custom={"fails": phase.name}), via)
    assert (outcome.phase, outcome.message) == (phase, "as it was told")


# --- broken off


async def test_a_run_that_takes_too_long_has_its_job_cancelled(via: Calls, platform: FakePlatform) -> None:
    outcome = await run(job_task(duration=60), via, timeout=0.4)
    assert (outcome.timed_out, outcome.succeeded, outcome.job_left) == (True, False, False)
    assert (outcome.phase, outcome.outputs) == (Phase.RUNNING, {})
    assert states(platform) == [JobState.CANCELLED]


async def test_a_cancelled_run_has_cancelled_its_job_before_it_ends(via: Calls, platform: FakePlatform) -> None:
    task = asyncio.ensure_future(run(job_task(duration=60), via))
    await until(platform, bool)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert states(platform) == [JobState.CANCELLED]


async def test_a_cancelled_scope_waits_for_the_deletion_too(via: Calls, platform: FakePlatform) -> None:
    platform.set_fault(Fault("slow", ("cancel",), delay=0.3))
    with anyio.move_on_after(0.4) as scope:
        await run(job_task(duration=60), via)
    assert scope.cancelled_caught
    assert states(platform) == [JobState.CANCELLED]


async def test_a_run_cancelled_during_its_create_cancels_the_job_that_comes_of_it(
    via: Calls, platform: FakePlatform
) -> None:
    platform.set_fault(Fault("slow", ("submit",), delay=0.6))
    with anyio.move_on_after(0.3):
        await run(job_task(duration=60), via)
    assert states(platform) == [JobState.CANCELLED]


async def test_a_second_cancellation_does_not_wait_and_says_what_finds_the_job(
    via: Calls, platform: FakePlatform, caplog: pytest.LogCaptureFixture
) -> None:
    platform.set_fault(Fault("hang", ("cancel",), seconds=30))
    told: list[Progress] = []
    task = asyncio.ensure_future(run(job_task(duration=60), via, on_progress=told.append))
    await until(platform, bool)
    while not any(each.meta for each in told):  # noqa: ASYNC110 - the create's answer is under way
        await asyncio.sleep(0.01)
    task.cancel()
    while told[-1].stage != "deleting":  # noqa: ASYNC110 - the run goes on in its own task
        await asyncio.sleep(0.01)
    with caplog.at_level(logging.WARNING, "connectors.local"), anyio.fail_after(20):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    last = told.pop()
    assert last.stage == "left"
    assert platform.jobs()[0].id.encode() in last.meta
    assert platform.jobs()[0].id in caplog.text
    platform.clear_faults()


async def test_a_job_that_has_ended_is_not_deleted(via: Calls, platform: FakePlatform) -> None:
    stages: list[str] = []
    await run(job_task(duration=0.1, outcome="FAILED"), via, on_progress=lambda each: stages.append(each.stage))
    assert not {"deleting", "deleted", "left"} & set(stages)
    assert platform.requests["cancel"] == 0


async def test_a_deletion_that_the_platform_refuses_for_a_while_is_carried_out(platform: FakePlatform) -> None:
    async with InProcess(connectors=connectors_of(platform), settings={"default_timeout": 0.5}) as via:
        platform.set_fault(Fault("answer", ("cancel",), seconds=1.2))
        outcome = await run(job_task(duration=60), via, timeout=0.3)
    assert (outcome.timed_out, outcome.job_left) == (True, False)
    assert states(platform) == [JobState.CANCELLED]


async def test_a_deletion_that_takes_too_long_is_told(
    platform: FakePlatform, in_process: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    platform.set_fault(Fault("hang", ("cancel",), seconds=30))
    outcome = await run(job_task(duration=60), in_process, timeout=0.3, end_within=0.3)
    assert (outcome.timed_out, outcome.job_left) == (True, True)
    assert platform.jobs()[0].id in caplog.text
    platform.clear_faults()


# --- faults on the way


async def test_faults_of_the_platform_are_ridden_out(via: Calls, platform: FakePlatform) -> None:
    platform.set_fault(Fault("lose", ("submit",), committed=True, times=1), Fault("answer", ("get",), times=3))
    outcome = await run(job_task(duration=0.2), via)
    assert outcome.succeeded
    assert len(platform.jobs()) == 1


async def test_a_create_that_fails_is_an_error_and_leaves_nothing_to_delete(via: Calls, platform: FakePlatform) -> None:
    stages: list[str] = []
    with pytest.raises(InvalidRequest, match="surprise"):
        await run(job_task(surprise=1), via, on_progress=lambda each: stages.append(each.stage))
    assert platform.jobs() == ()
    assert set(stages) == {"creating"}


async def test_a_task_type_that_nobody_serves_is_an_error_that_names_those_there_are(via: Calls) -> None:
    with pytest.raises(NotFound, match=r"nothing_such.*platform_native"):
        await run(TaskTemplate("nothing_such"), via)


class Unreachable:
    """Calls whose polls fail ``failures`` times; the job runs until it is deleted."""

    def __init__(self, calls: Calls, failures: int) -> None:
        self._calls = calls
        self.left = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._calls, name)

    async def get(self, *arguments: Any, **options: Any) -> Any:
        if self.left > 0:
            self.left -= 1
            raise Unavailable("the server is being replaced")
        return await self._calls.get(*arguments, **options)


async def test_five_polls_in_a_row_may_fail(in_process: InProcess) -> None:
    assert (await run(job_task(duration=0), Unreachable(in_process, 5))).succeeded


async def test_the_sixth_failed_poll_in_a_row_deletes_the_job(in_process: InProcess, platform: FakePlatform) -> None:
    with pytest.raises(Unavailable, match="being replaced"):
        await run(job_task(duration=60), Unreachable(in_process, 6))
    assert states(platform) == [JobState.CANCELLED]


async def test_progress_tells_a_fault_beside_what_was_known_before_it(via: Calls, platform: FakePlatform) -> None:
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        told.append(progress)
        if progress.phase is Phase.RUNNING and not progress.fault:
            platform.set_fault(Fault("answer", ("get",)))
        if progress.fault:
            platform.clear_faults()
            platform.end(platform.jobs()[0].id)

    assert (await run(job_task(duration=None), via, timeout=30, on_progress=tell)).succeeded
    known, faulty = (next(each for each in told if bool(each.fault) is fault and each.meta) for fault in (False, True))
    assert (faulty.phase, faulty.message, faulty.meta) == (known.phase, known.message, known.meta)
    assert faulty.fault.startswith("the platform answered HTTP 503")
    assert told[-1].fault == ""


async def test_a_timeout_names_the_last_fault_of_a_platform_that_is_gone() -> None:
    async with AsyncExitStack() as gone:
        platform = await gone.enter_async_context(FakePlatform())
        told: list[Progress] = []
        async with InProcess(connectors=connectors_of(platform)) as via, anyio.create_task_group() as tasks:

            async def end() -> None:
                await until(platform, lambda _: platform.requests["get"] > 1)
                await gone.aclose()

            tasks.start_soon(end)
            outcome = await run(job_task(duration=None), via, timeout=5, end_within=0.5, on_progress=told.append)
    assert (outcome.timed_out, outcome.job_left, outcome.phase) == (True, True, Phase.RUNNING)
    assert "could not be reached" in outcome.fault
    assert outcome.fault in told[-1].message
    assert outcome.fault in str(TaskTimedOut(outcome))


async def test_calls_that_fail_are_told_while_they_are_made_again(in_process: InProcess) -> None:
    told: list[Progress] = []
    await run(job_task(duration=0), Unreachable(in_process, 2), on_progress=told.append)
    assert [(each.state, each.fault) for each in told[1:]] == [
        ("CREATED", "the server is being replaced"),
        ("CREATED", "the server is being replaced"),
        ("SUCCEEDED", ""),
    ]


async def test_a_slow_platform_s_polls_get_the_time_that_they_need(platform: FakePlatform) -> None:
    platform.set_fault(Fault("slow", ("get",), delay=2.5))
    async with InProcess(connectors=connectors_of(platform)) as via:
        assert (await run(job_task(duration=3), via, timeout=30)).succeeded


async def test_a_bug_of_the_connector_s_is_an_error_and_its_job_is_deleted(caplog: pytest.LogCaptureFixture) -> None:
    buggy = Buggy()
    async with InProcess(connectors=[buggy]) as via:
        with pytest.raises(ConnectorError, match="error id"):
            await run(TaskTemplate("buggy"), via)
    assert len(buggy.deleted) == 1
    assert "ZeroDivisionError" in caplog.text


async def test_outputs_of_python_s_own_types_are_the_same_whoever_answers(via: Calls) -> None:
    outcome = await run(TaskTemplate("talkative"), via)
    assert outcome.outputs == {"job": {"args": []}, "pair": [1, "a"], "none": None}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"o0": LiteralType("integer")}, r"output o0: expected integer, got str"),
        ({"resutl": TEXT}, r"output resutl: string is declared, and it is missing; what came: o0"),
        ({"o0": TEXT, "x": TEXT}, r"output x: string is declared, and it is missing; what came: o0"),
        (
            {"resutl": LiteralType("union", variants=(TEXT, LiteralType("none")))},
            r"output o0: is not declared; what is declared: resutl",
        ),
    ],
    ids=["of another type", "misspelt", "missing", "unknown"],
)
async def test_outputs_that_the_task_does_not_declare_so_are_an_error_that_names_them_and_the_job(
    via: Calls, platform: FakePlatform, outputs: Mapping[str, LiteralType], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        await run(job_task(outputs=outputs), via)
    assert platform.jobs()[0].id in raised.value.message
    assert states(platform) == [JobState.SUCCEEDED]


async def test_outputs_that_flyte_takes_for_what_is_declared_are_taken(via: Calls) -> None:
    number, nothing = LiteralType("float"), LiteralType("none")
    declared = {"o0": number, "x": LiteralType("union", variants=(number, nothing))}
    task = TaskTemplate("echo", interface=Interface({"v": LiteralType("integer")}, declared))
    assert (await run(task, via, inputs={"v": 7})).outputs == {"o0": 7.0, "x": None}


def test_either_kind_of_table_is_taken_for_the_other() -> None:
    from connectors._messages.local_values import fitting_outputs

    outputs = {"a": StructuredDataset("s3://bucket/a"), "b": Schema("s3://bucket/b")}
    declared = {"a": LiteralType("schema"), "b": LiteralType("structured_dataset")}
    assert fitting_outputs(outputs, Interface({}, declared)) == outputs


# --- what goes in


INTEGER = LiteralType("integer")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "'v' is missing"),
        ({"v": 1, "w": 2}, "no input 'w'"),
        ({"v": "seven"}, "input v: expected integer, got str"),
        ({"v": object()}, "input v"),
    ],
    ids=["missing", "unknown", "of another type", "of no type"],
)
async def test_an_input_that_does_not_fit_is_refused_before_anything_is_sent(
    via: Calls, platform: FakePlatform, inputs: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await run(job_task(inputs={"v": INTEGER}), via, inputs=inputs)
    assert not platform.requests


async def test_an_input_that_may_be_none_need_not_be_given(in_process: InProcess) -> None:
    optional = LiteralType("union", variants=(INTEGER, LiteralType("none")))
    task = TaskTemplate("echo", interface=Interface({"v": optional}, {"o0": optional}))
    outcome = await run(task, in_process)
    assert outcome.outputs == {"o0": None}


async def test_a_custom_that_no_message_can_hold_is_refused(in_process: InProcess) -> None:
    with pytest.raises(InvalidRequest, match="cannot be sent"):
        await run(job_task(duration=object()), in_process)


async def test_a_poll_interval_of_zero_is_refused(in_process: InProcess) -> None:
    with pytest.raises(ValueError, match="above 0"):
        await run(job_task(), in_process, poll_interval=0.0)


# --- the output prefix


async def test_outputs_are_read_from_the_output_prefix_where_the_resource_has_none(
    via: Calls, platform: FakePlatform, tmp_path: Path
) -> None:
    from connectors._messages.local_values import outputs_file

    task = job_task(inline=False, duration=0.2)
    (tmp_path / "outputs.pb").write_bytes(outputs_file({"o0": "written"}, task.interface))
    outcome = await run(task, via, output_prefix=str(tmp_path))
    assert outcome.outputs == {"o0": "written"}
    assert platform.jobs()[0].output_prefix == str(tmp_path)


async def test_inputs_are_written_under_the_output_prefix(in_process: InProcess, tmp_path: Path) -> None:
    from connectors._messages.local_values import read_inputs_file

    task = job_task(inputs={"v": INTEGER, "names": LiteralType("collection", element=TEXT)})
    await run(task, in_process, inputs={"v": 7, "names": ["a"]}, output_prefix=f"file://{tmp_path}/new/folder")
    assert read_inputs_file((tmp_path / "new/folder/inputs.pb").read_bytes()) == {"v": 7, "names": ["a"]}


async def test_outputs_that_are_not_there_fail_the_task(via: Calls, tmp_path: Path) -> None:
    outcome = await run(job_task(inline=False), via, output_prefix=str(tmp_path))
    assert outcome.phase is Phase.FAILED
    assert f"{tmp_path}/outputs.pb does not exist" in outcome.message


async def test_outputs_that_are_no_outputs_fail_the_task(in_process: InProcess, tmp_path: Path) -> None:
    (tmp_path / "outputs.pb").write_bytes(b"not a message")
    outcome = await run(job_task(inline=False), in_process, output_prefix=str(tmp_path))
    assert (outcome.phase, "LiteralMap" in outcome.message) == (Phase.FAILED, True)


async def test_outputs_fail_the_task_where_there_is_no_prefix_to_read_them_from(via: Calls) -> None:
    outcome = await run(TaskTemplate("silent", interface=Interface({}, {"o0": TEXT})), via)
    assert (outcome.phase, "output prefix" in outcome.message) == (Phase.FAILED, True)


async def test_a_task_without_outputs_needs_no_prefix(via: Calls) -> None:
    outcome = await run(TaskTemplate("silent"), via)
    assert (outcome.phase, outcome.value) == (Phase.SUCCEEDED, None)


async def test_a_prefix_that_cannot_be_written_is_an_error_before_the_create(
    in_process: InProcess, platform: FakePlatform, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FailedPrecondition, match=r"file/inner/inputs\.pb cannot be written"):
        await run(job_task(), in_process, output_prefix=str(tmp_path / "file" / "inner"))
    assert platform.jobs() == ()


# --- what is told


async def test_a_state_that_the_connector_does_not_know_is_told_and_logged_once(
    in_process: InProcess, platform: FakePlatform, caplog: pytest.LogCaptureFixture
) -> None:
    platform.set_fault(Fault("state", ("get",), state="ASLEEP", times=3))
    told: list[Progress] = []
    outcome = await run(job_task(duration=0.1), in_process, on_progress=told.append)
    assert outcome.succeeded
    assert told[-1].unknown_states == ("ASLEEP",)
    assert sum("'ASLEEP'" in each.getMessage() for each in caplog.records) == 1


async def test_a_run_broken_off_whose_create_fails_says_whether_there_may_be_a_job(
    in_process: InProcess, platform: FakePlatform
) -> None:
    for fault, text in (
        (Fault("answer", ("submit",), status=401, delay=0.5), "no job was made: "),
        (Fault("answer", ("submit",), status=500, delay=0.5), "no job is known; the create failed, and may have made"),
    ):
        platform.clear_faults()
        platform.set_fault(fault)
        told: list[Progress] = []
        with anyio.move_on_after(0.3):
            await run(job_task(), in_process, on_progress=told.append)
        assert told[-1].stage == "none"
        assert told[-1].message.startswith(text)


async def test_progress_tells_the_phases_and_what_finds_the_job(via: Calls, platform: FakePlatform) -> None:
    told: list[Progress] = []
    await run(job_task(pending=0.2, duration=0.3), via, on_progress=told.append)
    assert (told[0].stage, told[0].meta) == ("creating", b"")
    assert list(dict.fromkeys(each.phase for each in told[1:])) == [Phase.QUEUED, Phase.RUNNING, Phase.SUCCEEDED]
    assert {each.meta for each in told[1:]} == {b'{"job_id":"%b"}' % platform.jobs()[0].id.encode()}
    assert [each.elapsed for each in told] == sorted(each.elapsed for each in told)


async def test_each_run_is_a_job_of_its_own(via: Calls, platform: FakePlatform) -> None:
    task = job_task(duration=0.1)
    first, second = await asyncio.gather(run(task, via), run(task, via))
    assert len(platform.jobs()) == 2
    assert first.outputs != second.outputs
