"""``connectors create``, ``get``, ``delete`` and ``logs``: a job's life, one process for each step."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from connectors.testing.platform import FakePlatform, JobState
from tests.run.conftest import Command, Place, WriteTask

pytestmark = pytest.mark.anyio

CHAT = json.dumps({"words": "one two three four five"})


async def test_a_job_is_created_asked_for_and_deleted_by_four_processes(
    command: Command, place: Place, platform: FakePlatform, write_task: WriteTask
) -> None:
    created = await command("create", write_task(custom={"duration": None}), *place.flags)
    (job,) = platform.jobs()
    assert (created.code, created.out) == (0, f'{{"job_id":"{job.id}"}}\n'), created.err
    meta = created.out.strip()
    running = await command("get", "platform_native", meta, *place.flags)
    assert (running.code, running.out) == (0, "RUNNING  the job is RUNNING\n"), running.err
    deleted = await command("delete", "platform_native", meta, *place.flags)
    assert (deleted.code, deleted.out, platform.jobs()[0].state) == (0, "", JobState.CANCELLED)
    over = await command("get", "platform_native", meta, *place.flags)
    assert (over.code, over.out.split()[0]) == (0, "ABORTED")


async def test_a_meta_is_taken_in_base64_as_json_shows_it(
    command: Command, either: Place, platform: FakePlatform, write_task: WriteTask
) -> None:
    created = await command("create", write_task(), "--json", *either.flags)
    (job,) = platform.jobs()
    assert created.json == {
        "task_type": "platform_native",
        "meta": f'{{"job_id":"{job.id}"}}',
        "meta_base64": b64encode(f'{{"job_id":"{job.id}"}}'.encode()).decode(),
    }
    got = await command("get", "platform_native", created.json["meta_base64"], "--json", *either.flags)
    assert got.json == {
        "phase": "SUCCEEDED",
        "message": "the job is SUCCEEDED",
        "outputs": {"o0": job.id},
        "log_links": [],
        "custom_info": None,
    }


async def test_links_and_outputs_are_lines_of_their_own(command: Command, either: Place) -> None:
    got = await command("get", "chatty@1", CHAT, *either.flags)
    assert (got.code, got.out) == (0, "RUNNING\nChat: https://example.com/chat\n")


async def test_the_whole_log_is_printed_whatever_its_pages(command: Command, either: Place) -> None:
    done = await command("logs", "chatty@1", CHAT, *either.flags)
    words = ["one", "two", "three", "four", "five"]
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [f"2024-05-17T00:00:00+00:00  {word}" for word in words]


async def test_a_page_of_the_log_tells_where_the_next_begins(command: Command, either: Place) -> None:
    first = await command("logs", "chatty@1", CHAT, "--lines=3", *either.flags)
    assert (len(first.out.splitlines()), first.err) == (3, "connectors: the next page: --token 3\n")
    last = await command("logs", "chatty@1", CHAT, "--lines=3", "--token=3", *either.flags)
    assert ([line.split()[-1] for line in last.out.splitlines()], last.err) == (["four", "five"], "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("get", "platform_native", "no meta"), "META: a resource meta is needed, as JSON or in base64"),
        (("get", "platform_native", ""), "META: a resource meta is needed, as JSON or in base64"),
        (("delete", "platform_native@x", "{}"), "'platform_native@x' is no task type: TYPE or TYPE@VERSION is needed"),
    ],
)
async def test_a_mistake_is_said_in_one_line(command: Command, arguments: tuple[str, ...], message: str) -> None:
    done = await command(*arguments)
    assert (done.code, done.out, done.err) == (2, "", f"connectors: {message}\n")


async def test_a_meta_of_another_connector_is_refused(command: Command, either: Place) -> None:
    done = await command("delete", "platform_native", '{"run": 1}', *either.flags)
    assert done.code == 3
    assert "the resource meta is not one of this connector" in done.err


async def test_logs_that_a_connector_does_not_have_are_refused(command: Command, either: Place) -> None:
    done = await command("logs", "platform_native", '{"job_id":"a"}', *either.flags)
    assert done.code == 3
    assert "platform_native has no logs" in done.err


async def test_a_sync_connector_has_no_job_to_create(command: Command, write_task: WriteTask) -> None:
    done = await command("create", write_task("echo"))
    assert (done.code, done.out) == (3, "")
    assert done.err == "connectors: echo is a sync connector, which has no jobs: use connectors run\n"
