"""The audit's lines: of a real server's calls, and of what a server does by itself."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from connectors import Context, Phase, Resource, SyncConnectorBase, TaskCategory, TaskTemplate
from connectors._engine.events import CallEvent, KeyOutcome, RateLimit
from connectors._observability.audit import audit_call, audit_fact
from connectors._observability.logs import configure
from connectors.models import Identifier, Identity, TaskExecutionId, TaskExecutionMetadata
from connectors.secrets import remember
from connectors.testing.fixtures import Serve
from connectors.testing.platform import FakePlatform, NativeConnector, PlatformSettings

pytestmark = pytest.mark.anyio

NATIVE = NativeConnector.task_type
EXECUTION = TaskExecutionId(
    task_id=Identifier("proj", "dev", "wf.task", "v1"),
    project="proj",
    domain="dev",
    execution="ex1",
    node_id="n0",
)
CREATE = CallEvent(operation="create", task_type="acme", protocol="flyte1", status="OK", seconds=0.1)


class Failing(SyncConnectorBase):
    task_type = "failing"

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        raise ValueError("a bug")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the log writes at its highest level."""
    root, names = logging.getLogger(), ("connectors", "connectors.audit")
    before = root.handlers[:], root.level, [logging.getLogger(name).level for name in names]
    written = io.StringIO()
    configure("json", "error", written)
    yield written
    logging.captureWarnings(False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for name, level in zip(names, before[2], strict=True):
        logging.getLogger(name).setLevel(level)


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if line["logger"] == "connectors.audit"]


async def test_a_create_and_a_delete_leave_a_line_each_although_only_errors_are_logged(
    serve: Serve, stream: io.StringIO
) -> None:
    async with FakePlatform(seed=7) as platform:
        server = await serve(NativeConnector(PlatformSettings(platform.url)))
        metadata = TaskExecutionMetadata(task_execution_id=EXECUTION, identity=Identity(execution_identity="alice"))
        async with server.client() as client:
            task = TaskTemplate(NATIVE)
            meta = await client.create(task, {}, output_prefix="s3://b/ex1/n0/0", metadata=metadata)
            await client.get(TaskCategory(NATIVE), meta)
            await client.delete(TaskCategory(NATIVE), meta)
        job = platform.jobs()[0]
    create, delete = lines_of(stream)
    common = {"event": "audit", "task_type": NATIVE, "by": "caller", "outcome": "OK", "protocol": "flyte1"}
    for line in (create, delete):
        assert common.items() <= line.items()
        assert line["level"] == "info"
        assert json.loads(line["job"]) == {"job_id": job.id}
        assert line["key"] == job.key
        assert line["peer"].startswith("127.0.0.1:")
    assert (create["action"], delete["action"]) == ("create", "delete")
    assert create["execution"] == "proj/dev/ex1/n0/0"
    assert create["task"] == "proj/dev/wf.task/v1"


async def test_a_call_that_fails_leaves_a_line_with_its_status_and_error_id(serve: Serve, stream: io.StringIO) -> None:
    server = await serve(Failing())
    async with server.client() as client:
        with pytest.raises(Exception, match="error id"):
            await client.do(TaskTemplate("failing"), {})
    (line,) = lines_of(stream)
    assert (line["action"], line["outcome"], line["error"]) == ("do", "INTERNAL", "ConnectorBug")
    assert line["error_id"]


async def test_a_setting_switches_the_audit_off(serve: Serve, stream: io.StringIO) -> None:
    server = await serve(Failing(), audit_log=False)
    async with server.client() as client:
        with pytest.raises(Exception, match="error id"):
            await client.do(TaskTemplate("failing"), {})
    assert lines_of(stream) == []


def test_whom_the_task_runs_as_is_told_where_the_backend_says_it(stream: io.StringIO) -> None:
    audit_call(CallEvent("create", "acme", "flyte1", "OK", 0.1, identity=Identity(k8s_service_account="robot")))
    assert lines_of(stream)[0]["run_as"] == "robot"


def test_polls_leave_no_line(stream: io.StringIO) -> None:
    for operation in ("get", "get_logs", "get_metrics", "report_idle"):
        audit_call(CallEvent(operation, "acme", "flyte1", "OK", 0.1, phase=Phase.RUNNING))
    audit_fact(RateLimit("acme"))
    assert lines_of(stream) == []


def test_a_deletion_of_the_server_s_own_is_the_server_s(stream: io.StringIO) -> None:
    audit_call(CallEvent("reap", "acme", "flyte1", "OK", 0.1, key="k"))
    (line,) = lines_of(stream)
    assert (line["action"], line["by"], line["key"]) == ("delete", "server", "k")


@pytest.mark.parametrize(
    ("fact", "action"),
    [
        (KeyOutcome("acme", "adopted", "k", b'{"name":"j"}', execution=EXECUTION), "adopt"),
        (KeyOutcome("acme", "cancelled", "k", b'{"name":"j"}', execution=EXECUTION), "cancel"),
        (KeyOutcome("acme", "new", "k", b'{"name":"j"}', heard=False, execution=EXECUTION), "create"),
    ],
)
def test_what_no_call_tells_leaves_a_line_of_the_server_s(fact: KeyOutcome, action: str, stream: io.StringIO) -> None:
    audit_fact(fact)
    (line,) = lines_of(stream)
    assert (line["action"], line["by"], line["job"], line["key"]) == (action, "server", '{"name":"j"}', "k")
    assert line["execution"] == "proj/dev/ex1/n0/0"


def test_a_job_that_a_call_tells_leaves_no_second_line(stream: io.StringIO) -> None:
    audit_fact(KeyOutcome("acme", "new", "k", b"{}"))
    audit_fact(KeyOutcome("acme", "repeated", "k", b"{}"))
    assert lines_of(stream) == []


def test_no_secret_and_no_long_meta_is_in_a_line(stream: io.StringIO) -> None:
    remember("fake-token-0123456789")
    audit_call(CallEvent("delete", "acme", "flyte1", "OK", 0.1, meta=b'{"name":"fake-token-0123456789"}'))
    audit_call(CallEvent("delete", "acme", "flyte1", "OK", 0.1, meta=b"x" * 1_000_000))
    secret, long = lines_of(stream)
    assert "0123456789" not in stream.getvalue()
    assert secret["job"].startswith('{"name":"')
    assert len(long["job"]) == 1_000


def test_no_half_of_a_secret_is_left_where_a_meta_is_cut(stream: io.StringIO) -> None:
    remember("fake-token-0123456789")
    audit_call(CallEvent("delete", "acme", "flyte1", "OK", 0.1, meta=b"x" * 990 + b"fake-token-0123456789"))
    assert "fake" not in stream.getvalue()
