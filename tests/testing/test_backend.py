"""The backend simulator against a service that answers as it is told, in virtual time: calls, times and fates."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from connectors import Interface, LiteralType, Phase, Resource, TaskTemplate
from connectors.testing.backend import Backend, BackendTask, Fate, Mishaps, Protocol, distinct_tasks
from tests.testing.scripted import DOWN, Scripted, backend_of

pytestmark = pytest.mark.anyio

TASK = BackendTask(TaskTemplate("acme"))
RUNNING, SUCCEEDED, FAILED = Phase.RUNNING, Phase.SUCCEEDED, Phase.FAILED
both = pytest.mark.parametrize("protocol", ["flyte1", "flyte2"])


async def fate_of(service: Scripted, task: BackendTask = TASK, **options: Any) -> Fate:
    async with backend_of(service, **options) as backend:
        (fate,) = await backend.run([task])
        return fate


def times(fate: Fate, operation: str) -> list[float]:
    return [round(call.at, 3) for call in fate.calls if call.operation == operation]


# --- polls


@both
async def test_a_task_is_polled_at_once_and_then_every_interval_until_it_ends(protocol: Protocol) -> None:
    service = Scripted([Phase.QUEUED, RUNNING, RUNNING, SUCCEEDED], takes=1)
    fate = await fate_of(service, protocol=protocol, poll_interval=30)
    assert (fate.outcome, fate.attempts, service.deleted) == ("succeeded", 1, [])
    assert times(fate, "create") == [0]
    assert times(fate, "get") == [1, 31, 61, 91]


async def test_a_poll_that_takes_longer_than_the_interval_is_followed_by_the_next_at_once() -> None:
    fate = await fate_of(Scripted([RUNNING, SUCCEEDED], takes=50), poll_interval=30)
    assert times(fate, "get") == [50, 100]


@both
async def test_five_failed_polls_in_a_lifetime_are_borne(protocol: Protocol) -> None:
    fate = await fate_of(Scripted([DOWN, RUNNING, DOWN, DOWN, RUNNING, DOWN, DOWN, SUCCEEDED]), protocol=protocol)
    assert fate.outcome == "succeeded"
    assert len(fate.failed_calls) == 5


@both
async def test_at_the_sixth_failed_poll_a_task_fails_for_good_where_none_ever_succeeded(protocol: Protocol) -> None:
    service = Scripted([DOWN])
    fate = await fate_of(service, protocol=protocol, retries=3)
    assert (fate.outcome, fate.attempts) == ("failed", 1)
    assert (len(service.asked), service.deleted) == (6, [])
    assert "6 polls failed" in fate.reason


@both
async def test_at_the_sixth_failed_poll_a_task_is_stuck_where_any_succeeded_however_long_ago(
    protocol: Protocol,
) -> None:
    service = Scripted([DOWN, RUNNING, DOWN, RUNNING, DOWN, DOWN, RUNNING, DOWN, DOWN, SUCCEEDED])
    fate = await fate_of(service, protocol=protocol, retries=3)
    assert (fate.outcome, len(service.asked), service.deleted) == ("stuck", 9, [])


async def test_a_task_that_is_stuck_can_still_be_aborted() -> None:
    service = Scripted([RUNNING, DOWN])
    fate = await fate_of(service, replace(TASK, abort_after=3600))
    assert (fate.outcome, times(fate, "delete")) == ("aborted", [3600])


@pytest.mark.parametrize("phase", [FAILED, Phase.ABORTED, Phase.UNDEFINED])
async def test_a_permanent_failure_uses_no_retry_and_is_not_deleted(phase: Phase) -> None:
    service = Scripted([RUNNING, phase])
    fate = await fate_of(service, retries=3)
    assert (fate.outcome, fate.attempts, service.deleted) == ("failed", 1, [])


async def test_a_task_that_declares_outputs_fails_where_there_are_none() -> None:
    template = TaskTemplate("acme", interface=Interface(outputs={"o0": LiteralType("string")}))
    task = BackendTask(template)
    written: set[str] = set()
    service = Scripted()
    assert (await fate_of(service, task, outputs_at=written.__contains__)).outcome == "failed"
    written.add(service.sent[0].output_prefix)
    assert (await fate_of(Scripted(), task, outputs_at=written.__contains__)).outcome == "succeeded"
    inline = await fate_of(Scripted([Resource(SUCCEEDED, outputs={"o0": "x"})]), task, outputs_at=lambda _: False)
    assert (inline.outcome, inline.outputs) == ("succeeded", {"o0": "x"})


async def test_no_more_polls_are_under_way_than_there_are_workers() -> None:
    service = Scripted([RUNNING] * 90 + [SUCCEEDED], takes=2)
    async with backend_of(service, workers=3, poll_interval=5) as backend:
        fates = await backend.run(distinct_tasks(30, TASK.template))
    assert {fate.outcome for fate in fates} == {"succeeded"}
    assert service.most_under_way == 30  # creates are no polls
    polls = sorted(call.at for fate in fates for call in fate.calls if call.operation == "get")
    assert polls == [2 + 2 * (number // 3) for number in range(len(polls))]


async def test_polls_beyond_a_burst_keep_to_a_rate() -> None:
    async with backend_of(Scripted(), polls_per_second=10, burst=5) as backend:
        fates = await backend.run(distinct_tasks(15, TASK.template))
    polls = sorted(round(call.at, 3) for fate in fates for call in fate.calls if call.operation == "get")
    assert polls == [0] * 5 + [pytest.approx(number / 10) for number in range(1, 11)]


async def test_a_task_that_does_not_end_in_time_is_stuck() -> None:
    fate = await fate_of(Scripted([RUNNING]), patience=100)
    assert (fate.outcome, times(fate, "get")) == ("stuck", [0, 30, 60, 90])


# --- attempts


@both
async def test_a_failed_create_fails_a_task_that_has_no_retries(protocol: Protocol) -> None:
    service = Scripted(creates=[DOWN])
    fate = await fate_of(service, protocol=protocol)
    assert (fate.outcome, fate.attempts, len(service.sent)) == ("failed", 1, 1)
    assert (service.asked, service.deleted) == ([], [])
    assert "UNAVAILABLE" in fate.reason


@both
async def test_a_failed_create_uses_a_retry_and_is_not_deleted(protocol: Protocol) -> None:
    service = Scripted(creates=[DOWN, DOWN, None])
    fate = await fate_of(service, protocol=protocol, retries=2)
    assert (fate.outcome, fate.attempts, service.deleted) == ("succeeded", 3, [])
    assert fate.metas == (b"job-3",)


@pytest.mark.parametrize(("protocol", "segments"), [("flyte1", ["0", "1"]), ("flyte2", ["1", "2"])])
async def test_an_attempt_is_the_last_segment_of_its_output_prefix(protocol: Protocol, segments: list[str]) -> None:
    service = Scripted(creates=[DOWN, None])
    await fate_of(service, protocol=protocol, retries=1)
    prefixes = [sent.output_prefix.rpartition("/") for sent in service.sent]
    assert [segment for _, _, segment in prefixes] == segments
    assert len({parent for parent, _, _ in prefixes}) == 1
    executions = [sent.metadata.task_execution_id for sent in service.sent]
    assert [each.retry_attempt for each in executions if each is not None] == [0, 1]
    assert service.asked[0][2] == service.sent[1].output_prefix


@both
async def test_a_retryable_failure_is_deleted_before_its_retry(protocol: Protocol) -> None:
    service = Scripted([Phase.RETRYABLE_FAILED, SUCCEEDED])
    fate = await fate_of(service, protocol=protocol, retries=1, mishaps=Mishaps(late_polls=0))
    assert (fate.outcome, fate.attempts, service.deleted) == ("succeeded", 2, [b"job-1"])
    assert [call.operation for call in fate.calls] == ["create", "get", "delete", "create", "get"]


@both
async def test_the_last_retryable_failure_is_not_deleted(protocol: Protocol) -> None:
    service = Scripted([Phase.RETRYABLE_FAILED])
    fate = await fate_of(service, protocol=protocol, retries=2)
    assert (fate.outcome, fate.attempts, service.deleted) == ("failed", 3, [b"job-1", b"job-2"])


@pytest.mark.parametrize(("protocol", "deletes"), [("flyte1", 3), ("flyte2", 1)])
async def test_a_delete_that_fails_before_a_retry_is_repeated_in_flyte1_alone(protocol: Protocol, deletes: int) -> None:
    service = Scripted([Phase.RETRYABLE_FAILED, SUCCEEDED], deletes=[DOWN, DOWN, None])
    fate = await fate_of(service, protocol=protocol, retries=1)
    assert (fate.outcome, len(service.deleted)) == ("succeeded", deletes)


async def test_a_task_may_have_its_own_number_of_retries() -> None:
    fate = await fate_of(Scripted(creates=[DOWN]), replace(TASK, retries=4), retries=1)
    assert fate.attempts == 5


@pytest.mark.parametrize(("protocol", "after"), [("flyte1", [30, 60]), ("flyte2", [])])
async def test_polls_go_on_after_a_retryable_failure_and_a_delete_in_flyte1(
    protocol: Protocol, after: list[float]
) -> None:
    service = Scripted([Phase.RETRYABLE_FAILED, SUCCEEDED])
    fate = await fate_of(service, protocol=protocol, retries=1, mishaps=Mishaps(late_polls=2))
    late = [call.at for call in fate.calls if call.operation == "get" and call.meta == b"job-1"]
    assert late == [0, *after]


# --- aborts


@both
async def test_an_abort_deletes_the_job(protocol: Protocol) -> None:
    service = Scripted([RUNNING])
    fate = await fate_of(service, replace(TASK, abort_after=45), protocol=protocol, retries=2)
    assert (fate.outcome, times(fate, "delete"), service.deleted) == ("aborted", [45], [b"job-1"])
    assert times(fate, "get") == ([0, 30, 75] if protocol == "flyte1" else [0, 30])


async def test_an_abort_during_the_create_waits_for_its_answer_and_deletes() -> None:
    fate = await fate_of(Scripted([RUNNING], takes=5), replace(TASK, abort_after=1))
    assert (fate.outcome, times(fate, "delete")) == ("aborted", [5])


async def test_an_abort_during_a_create_that_fails_ends_the_task_with_no_delete_and_no_retry() -> None:
    service = Scripted(creates=[DOWN], takes=5)
    fate = await fate_of(service, replace(TASK, abort_after=1), retries=3)
    assert (fate.outcome, len(service.sent), service.deleted) == ("aborted", 1, [])


async def test_a_delete_that_fails_is_repeated() -> None:
    service = Scripted([RUNNING], deletes=[DOWN, DOWN, None])
    fate = await fate_of(service, replace(TASK, abort_after=10), poll_interval=20)
    assert times(fate, "delete") == [10, 30, 50]


# --- mishaps


@both
async def test_an_answer_that_is_lost_is_followed_by_the_same_create(protocol: Protocol) -> None:
    service = Scripted()
    mishaps = Mishaps(lose_create_answer=0.5, ask_before_losing=0, restart_takes=60)
    async with backend_of(service, protocol=protocol, mishaps=mishaps) as backend:
        fates = await backend.run(distinct_tasks(100, TASK.template))
    assert Counter(fate.outcome for fate in fates) == {"succeeded": 100}
    assert {fate.attempts for fate in fates} == {1}
    sends = Counter(sent.output_prefix for sent in service.sent)
    assert len(sends) == 100
    assert 150 <= sends.total() <= 250
    repeated = next(fate for fate in fates if len(times(fate, "create")) == 2)
    assert times(repeated, "create") == [0, 60]


async def test_a_job_whose_answer_is_lost_may_have_been_asked_for_once() -> None:
    mishaps = Mishaps(lose_create_answer=1, ask_before_losing=1, forget=1)
    service = Scripted([RUNNING])
    fate = await fate_of(service, mishaps=mishaps)
    assert (fate.outcome, len(service.sent), len(service.asked), service.deleted) == ("aborted", 1, 1, [])


async def test_a_backend_that_gives_up_a_create_uses_a_retry() -> None:
    service = Scripted(takes=10)
    fate = await fate_of(service, retries=1, mishaps=Mishaps(give_up=1, give_up_after=2))
    assert (fate.outcome, fate.attempts, times(fate, "create")) == ("failed", 2, [0, 2])
    assert {call.result for call in fate.failed_calls} == {"GIVEN_UP"}
    assert service.under_way == 0


async def test_a_create_may_be_sent_twice_at_once() -> None:
    service = Scripted(takes=1)
    fate = await fate_of(service, mishaps=Mishaps(send_twice=1))
    assert (fate.outcome, times(fate, "create")) == ("succeeded", [0, 0])
    assert len({sent.output_prefix for sent in service.sent}) == 1


async def test_the_seed_decides_what_goes_wrong() -> None:
    async def sends(seed: int) -> Counter[str]:
        service = Scripted(takes=1)
        mishaps = Mishaps(lose_create_answer=0.5, give_up=0.2, give_up_after=0.5)
        async with backend_of(service, seed=seed, mishaps=mishaps, retries=2) as backend:
            await backend.run(distinct_tasks(50, TASK.template), spread=60)
        return Counter(sent.output_prefix for sent in service.sent)

    first = await sends(1)
    assert await sends(1) == first
    assert await sends(2) != first


# --- what is sent


async def test_maps_come_in_another_order_with_each_call() -> None:
    many = {f"k{number}": number for number in range(20)}
    task = BackendTask(TaskTemplate("acme", custom={"deep": [dict(many)]}), inputs=many)
    service = Scripted()
    async with backend_of(service) as backend:
        for _ in range(2):
            await backend.create(task)
    first, second = service.sent
    assert first.inputs == second.inputs == many
    assert first.task == second.task
    assert list(first.inputs) != list(second.inputs)
    assert list(first.task.custom["deep"][0]) != list(second.task.custom["deep"][0])


async def test_a_run_of_the_same_name_has_the_same_identity() -> None:
    service = Scripted()
    async with backend_of(service) as backend:
        for _ in range(2):
            await backend.run([TASK])
    first, second = service.sent
    assert first == second


async def test_distinct_tasks_differ_in_their_output_prefix() -> None:
    service = Scripted()
    async with backend_of(service) as backend:
        await backend.run(distinct_tasks(20, TASK.template))
    assert len({sent.output_prefix for sent in service.sent}) == 20


async def test_tasks_start_within_the_spread() -> None:
    async with backend_of(Scripted()) as backend:
        fates = await backend.run(distinct_tasks(50, TASK.template), spread=100)
    starts = [fate.calls[0].at for fate in fates]
    assert 0 <= min(starts) < 20
    assert 80 < max(starts) <= 100


async def test_a_backend_has_to_be_entered_first() -> None:
    with pytest.raises(RuntimeError, match="asynchronous context"):
        await Backend(["127.0.0.1:1"]).create(TASK)


async def test_nothing_is_under_way_once_fates_are_told() -> None:
    service = Scripted([RUNNING], takes=3)
    await fate_of(service, replace(TASK, abort_after=31))
    assert service.under_way == 0
