"""``connectors run``: a real process, real jobs, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography import x509
from flyteidl.core import tasks_pb2
from google.protobuf.struct_pb2 import Struct

from connectors.testing.platform import FakePlatform, Fault, JobState
from connectors.testing.server import ConnectorServer
from tests.run.conftest import Command, Place, WriteTask
from tests.run.waiting import until
from tests.wire.tls import behind_tls, certify

pytestmark = pytest.mark.anyio

FOREVER = {"duration": None}
QUICK = "--poll-interval=0.05"


def states(platform: FakePlatform) -> list[JobState]:
    return [job.state for job in platform.jobs()]


@pytest.mark.parametrize(
    ("outcome", "phase", "code"),
    [("SUCCEEDED", "SUCCEEDED", 0), ("FAILED", "FAILED", 1), ("PREEMPTED", "RETRYABLE_FAILED", 75)],
)
async def test_the_exit_code_is_that_of_the_phase(
    command: Command,
    place: Place,
    platform: FakePlatform,
    write_task: WriteTask,
    *,
    outcome: str,
    phase: str,
    code: int,
) -> None:
    task = write_task(custom={"pending": 0.1, "duration": 0.1, "outcome": outcome})
    done = await command("run", task, QUICK, *place.flags)
    assert done.code == code, done.err
    *_, before, last = done.err.splitlines()
    assert last.endswith(f" s  {phase}  the job is {outcome}")
    assert (f'the job\'s resource meta is {{"job_id":"{platform.jobs()[0].id}"}}' in before) is (code != 0)
    (job,) = platform.jobs()
    assert (job.state, done.out) == (outcome, f"o0: {job.id}\n" if code == 0 else "")


async def test_a_job_that_somebody_else_cancelled_is_aborted(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    process = await command.start("run", write_task(custom=FOREVER), QUICK)
    await until(lambda: bool(platform.jobs()))
    platform.end(platform.jobs()[0].id, JobState.CANCELLED)
    done = await command.ended(process)
    assert (done.code, done.err.splitlines()[-1].split("  ")[-2:]) == (4, ["ABORTED", "the job is CANCELLED"])


async def test_where_it_is_no_terminal_each_change_is_a_line(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    done = await command("run", write_task(custom={"pending": 0.5, "duration": 0.5}), QUICK)
    lines = [line.split(" s  ", 1)[1] for line in done.err.splitlines()]
    assert lines == [
        "CREATING",
        "QUEUED  the job is PENDING",
        "RUNNING  the job is RUNNING",
        "SUCCEEDED  the job is SUCCEEDED",
    ]


async def test_as_json_the_outcome_has_all_that_is_known(
    command: Command, either: Place, platform: FakePlatform, write_task: WriteTask
) -> None:
    done = await command("run", write_task(), "--json", QUICK, *either.flags)
    (job,) = platform.jobs()
    shown = done.json
    assert shown.pop("elapsed") > 0
    assert b64decode(shown.pop("meta_base64")).decode() == shown["meta"]
    assert (done.code, shown) == (
        0,
        {
            "phase": "SUCCEEDED",
            "message": "the job is SUCCEEDED",
            "outputs": {"o0": job.id},
            "log_links": [],
            "custom_info": None,
            "timed_out": False,
            "interrupted": False,
            "job_left": False,
            "fault": None,
            "meta": f'{{"job_id":"{job.id}"}}',
        },
    )


async def test_inputs_go_in_and_outputs_come_out_as_the_task_declares_them(
    command: Command, place: Place, write_task: WriteTask
) -> None:
    declared = {"n": "int", "when": "datetime", "long": "timedelta", "words": "list[str]", "raw": "str", "x": "float"}
    task = write_task("echo", interface={"inputs": declared, "outputs": declared})
    inputs = ["n=7", "when=2024-05-17T11:30+02:00", "long=1h", 'words=["a"]', "raw=7", "x=2"]
    done = await command("run", task, "--json", QUICK, *(f"--input={each}" for each in inputs), *place.flags)
    assert done.code == 0, done.err
    assert done.json["outputs"] == {
        "n": 7,
        "when": "2024-05-17T09:30:00+00:00",
        "long": 3600.0,
        "words": ["a"],
        "raw": "7",
        "x": 2.0,
    }
    shown = await command("run", task, QUICK, *(f"--input={each}" for each in inputs), *place.flags)
    assert 'words: ["a"]\nraw: 7\n' in shown.out


async def test_a_call_that_fails_is_shown_without_what_a_terminal_would_obey(
    command: Command, place: Place, write_task: WriteTask
) -> None:
    done = await command("run", write_task("echo", custom={"fail": True}), QUICK, *place.flags)
    assert (done.code, done.err.splitlines()[-1].split("  ")[-1]) == (1, "as it was told\N{REPLACEMENT CHARACTER}[31m")


async def test_a_run_that_takes_too_long_ends_with_124_and_its_job_is_deleted(
    command: Command, either: Place, platform: FakePlatform, write_task: WriteTask
) -> None:
    done = await command("run", write_task(custom=FOREVER), QUICK, "--timeout=3", *either.flags)
    assert (done.code, states(platform)) == (124, [JobState.CANCELLED])
    *_, deleted, last = [line.split(" s  ", 1)[1] for line in done.err.splitlines()]
    assert (deleted, last) == ("the job was deleted", "TIMED OUT  the last phase was RUNNING")


async def test_while_the_platform_is_dead_a_line_says_why_and_so_does_the_end(
    command: Command, either: Place, platform: FakePlatform, write_task: WriteTask
) -> None:
    quick = () if either.name == "here" else ("--call-timeout=2",)
    process = await command.start("run", write_task(custom=FOREVER), QUICK, "--timeout=6", *quick, *either.flags)
    await until(lambda: platform.requests["get"] > 1)
    platform.set_fault(Fault("answer", ("get",)))
    done = await command.ended(process)
    fault = f"the platform answered HTTP 503 to GET /jobs/{platform.jobs()[0].id}"
    assert (done.code, states(platform)) == (124, [JobState.CANCELLED])
    lines = [line.split(" s  ", 1)[1] for line in done.err.splitlines()]
    assert f"RUNNING  the job cannot be asked for: {fault}" in lines
    assert lines[-1] == f"TIMED OUT  the last phase was RUNNING; at last its job could not be asked for: {fault}"


async def test_a_job_that_could_not_be_created_in_time_says_why(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    platform.set_fault(Fault("answer", ("submit",)))
    done = await command("run", write_task(), "--timeout=3", "--json")
    assert (done.code, platform.jobs()) == (124, ())
    assert "HTTP 503" in done.json["fault"]
    assert done.err.splitlines()[-1].endswith(f"TIMED OUT  its job could not be created: {done.json['fault']}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_deletes_the_job_and_waits_for_it(
    command: Command, either: Place, platform: FakePlatform, write_task: WriteTask, *, number: int, code: int
) -> None:
    process = await command.start("run", write_task(custom=FOREVER), QUICK, *either.flags)
    await until(lambda: platform.requests["get"] > 1)
    process.send_signal(number)
    done = await command.ended(process)
    assert (done.code, states(platform), done.out) == (code, [JobState.CANCELLED], "")
    *_, deleted, last = done.err.splitlines()
    assert (deleted.split(" s  ", 1)[1], last) == (
        "the job was deleted",
        f"connectors: interrupted by {signal.Signals(number).name}",
    )
    assert "Traceback" not in done.err


async def test_a_second_signal_leaves_at_once_and_tells_what_finds_the_job(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    process = await command.start("run", write_task(custom=FOREVER), QUICK)
    await until(lambda: platform.requests["get"] > 1)
    platform.set_fault(Fault("hang", ("cancel",)))
    process.send_signal(signal.SIGINT)
    await until(lambda: platform.requests["cancel"] > 0)
    process.send_signal(signal.SIGINT)
    done = await command.ended(process)
    (job,) = platform.jobs()
    assert (done.code, job.state) == (130, JobState.RUNNING)
    left = f'a job may go on: its deletion was not waited for; its resource meta is {{"job_id":"{job.id}"}}'
    assert done.err.splitlines()[-2].endswith(left)
    platform.clear_faults()
    assert (await command("delete", "platform_native", f'{{"job_id":"{job.id}"}}')).code == 0
    assert states(platform) == [JobState.CANCELLED]


async def test_a_signal_while_no_job_can_be_made_says_that_none_is_known(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    platform.set_fault(Fault("answer", ("submit",)))
    process = await command.start("run", write_task(custom=FOREVER), "--json")
    await until(lambda: platform.requests["submit"] > 0)
    process.send_signal(signal.SIGINT)
    done = await command.ended(process)
    none = "no job is known; the create failed, and may have made one all the same: the platform answered HTTP 503"
    *_, waiting, said, last = done.err.splitlines()
    assert waiting.endswith("DELETING  its create is under way, and is waited for")
    assert none in said
    assert last == "connectors: interrupted by SIGINT"
    shown = done.json
    assert (done.code, shown["interrupted"], shown["meta"], shown["job_left"]) == (130, True, None, False)
    assert "HTTP 503" in shown["fault"]


async def test_a_signal_while_a_sync_connector_works_says_so(command: Command, write_task: WriteTask) -> None:
    process = await command.start("run", write_task("echo", custom={"seconds": 60}))
    assert process.stderr is not None
    async with asyncio.timeout(30):
        assert b"CREATING" in await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    done = await command.ended(process)
    assert (done.code, done.err) == (130, "connectors: interrupted by SIGINT\n")


async def test_a_state_that_the_connector_does_not_know_is_told_once(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    platform.set_fault(Fault("state", ("get",), state="ASLEEP\x1b[31m", times=3))
    done = await command("run", write_task(custom={"duration": 0.1}), QUICK)
    told = "the connector does not know the state ASLEEP\N{REPLACEMENT CHARACTER}[31m, and takes it for RUNNING"
    assert (done.code, done.err.count(told)) == (0, 1)


async def test_a_signal_while_the_job_is_made_deletes_the_job_that_comes_of_it(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    platform.set_fault(Fault("slow", ("submit",), delay=0.5))
    process = await command.start("run", write_task(custom=FOREVER), QUICK)
    await until(lambda: platform.requests["submit"] > 0)
    process.send_signal(signal.SIGINT)
    done = await command.ended(process)
    assert (done.code, states(platform)) == (130, [JobState.CANCELLED])


async def test_a_task_that_flyte_serialised_is_run(command: Command, platform: FakePlatform, tmp_path: Path) -> None:
    custom = Struct()
    custom.update({"duration": 0.1, "outcome": "SUCCEEDED"})
    path = tmp_path / "0_example.job_1.pb"
    path.write_bytes(tasks_pb2.TaskTemplate(type="platform_native", custom=custom).SerializeToString())
    done = await command("run", path, QUICK)
    assert (done.code, states(platform)) == (0, [JobState.SUCCEEDED])


async def test_inputs_are_written_under_the_output_prefix(
    command: Command, write_task: WriteTask, tmp_path: Path
) -> None:
    task = write_task("echo", interface={"inputs": {"v": "int"}})
    done = await command("run", task, "--input", "v=7", "--output-prefix", tmp_path / "out")
    assert (done.code, done.out) == (0, "v: 7\n")
    assert (tmp_path / "out" / "inputs.pb").read_bytes()


# --- what is not run

MISTAKES = {
    "an input that does not fit": (("-i", "v=x"), "input v: a whole number is needed, not 'x'"),
    "an endpoint that is none": (
        ("-i", "v=1", "--endpoint", "localhost"),
        "'localhost' is not an address: host:port is needed",
    ),
    "settings of plugins that are elsewhere": (
        ("-i", "v=1", "--endpoint", "localhost:1", "--allow-plugins", "a"),
        "--allow-plugins: is of no use with --endpoint, whose connectors have the server's settings",
    ),
    "a setting that is none": (("-i", "v=1", "--secret-sources", "sky"), "--secret-sources"),
}


@pytest.mark.parametrize("case", MISTAKES)
async def test_a_mistake_is_said_in_one_line_and_nothing_is_run(
    command: Command, platform: FakePlatform, write_task: WriteTask, case: str
) -> None:
    arguments, message = MISTAKES[case]
    done = await command("run", write_task(interface={"inputs": {"v": "int"}}), *arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert done.err.startswith(f"connectors: {message}")
    assert not platform.jobs()


@pytest.mark.parametrize(
    ("variable", "value"), [("CONNECTORS_PLATFORM__TIMEOUT", "soon"), ("CONNECTORS_PLATFORM__URRL", "x")]
)
async def test_a_plugins_setting_that_is_wrong_or_unknown_is_a_mistake(
    command: Command, platform: FakePlatform, write_task: WriteTask, variable: str, value: str
) -> None:
    command.variables[variable] = value
    done = await command("run", write_task())
    assert (done.code, done.out, platform.jobs()) == (2, "", ())
    assert variable in done.err


async def test_a_task_type_that_nothing_serves_is_refused(
    command: Command, either: Place, write_task: WriteTask
) -> None:
    done = await command("run", write_task("nonsense"), *either.flags)
    assert (done.code, done.out) == (3, "")
    assert "nonsense" in done.err.splitlines()[-1]
    done = await command("run", write_task("ehco"), *either.flags)
    assert done.err.splitlines()[-1].endswith("did you mean 'echo'?")


async def test_a_server_that_cannot_be_reached_is_named_as_such(command: Command, write_task: WriteTask) -> None:
    done = await command("run", write_task(), "--endpoint", "127.0.0.1:1")
    assert done.code == 3
    assert done.err.splitlines()[-1].startswith("connectors: UNAVAILABLE: no server can be reached")


async def test_an_address_where_no_grpc_is_spoken_is_named_as_such(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    done = await command("run", write_task(), "--endpoint", platform.url.removeprefix("http://"))
    said = "connectors: UNAVAILABLE: what answers at this address speaks HTTP/1, and no gRPC"
    assert (done.code, done.err.splitlines()[-1]) == (3, said)


async def test_a_platform_that_refuses_is_refused_in_its_words(
    command: Command, either: Place, platform: FakePlatform, write_task: WriteTask
) -> None:
    platform.token = "another"
    done = await command("run", write_task(), *either.flags)
    assert (done.code, platform.jobs()) == (3, ())
    assert "HTTP 401" in done.err.splitlines()[-1]


async def test_a_platform_that_cannot_be_asked_for_a_while_does_not_end_the_run(
    command: Command, platform: FakePlatform, write_task: WriteTask
) -> None:
    platform.set_fault(Fault("answer", ("get",), times=5))
    done = await command("run", write_task(custom={"duration": 0.1}), QUICK)
    assert (done.code, states(platform)) == (0, [JobState.SUCCEEDED])


async def test_a_server_behind_tls_is_called_by_its_authority_and_name(
    command: Command, server: ConnectorServer, platform: FakePlatform, write_task: WriteTask, tmp_path: Path
) -> None:
    certificate, key = certify(tmp_path, x509.DNSName("connectors.example.com"))
    task = write_task()
    async with behind_tls(server.address, certificate, key) as address:
        unknown = await command("run", task, "--endpoint", address, "--tls")
        assert (unknown.code, platform.jobs()) == (3, ())
        assert "CERTIFICATE_VERIFY_FAILED" in unknown.err
        names = "--ca-file", certificate, "--server-name", "connectors.example.com"
        known = await command("run", task, "--endpoint", address, *names)
    assert (known.code, states(platform)) == (0, [JobState.SUCCEEDED]), known.err


async def test_a_bug_of_the_connector_is_shown_to_who_may_mend_it(command: Command, write_task: WriteTask) -> None:
    task = write_task("echo", custom={"crash": True})
    done = await command("run", task)
    assert (done.code, done.out) == (3, "")
    assert "ZeroDivisionError: a bug of the connector's" in done.err
    assert re.search(r"^connectors: .*error id \w+", done.err.splitlines()[-1])
    as_json = await command("run", task, "--log-format=json")
    (logged,) = [line for line in as_json.err.splitlines() if line.startswith("{")]
    assert "ZeroDivisionError" in json.loads(logged)["exception"]
