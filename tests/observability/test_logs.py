"""Log lines, as they are written."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Literal

import pytest

from connectors._engine.events import CallEvent
from connectors._observability.logs import DebugSwitch, UnknownStateLog, configure, log_call, log_registry
from connectors._registry import LoadFailure, Registry
from connectors.models import Phase, TaskExecutionId
from connectors.secrets import remember

log = logging.getLogger("connectors.test")
GET = CallEvent(
    operation="get", task_type="acme", protocol="flyte2", status="OK", seconds=0.0123456, phase=Phase.RUNNING
)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("connectors")
    before = (root.handlers[:], root.level, ours.level)
    yield
    logging.captureWarnings(False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
def console() -> io.StringIO:
    stream = io.StringIO()
    configure("console", "debug", stream)
    return stream


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    configure("json", "debug", stream)
    return stream


def only(stream: io.StringIO) -> dict[str, object]:
    (line,) = stream.getvalue().splitlines()
    parsed: dict[str, object] = json.loads(line)
    return parsed


def test_a_json_line_has_time_level_logger_message_and_its_fields(lines: io.StringIO) -> None:
    log.info("to %s", "you", extra={"fields": {"plugin": "acme", "number": 3}})
    line = only(lines)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line.pop("time")))
    assert line == {"level": "info", "logger": "connectors.test", "message": "to you", "plugin": "acme", "number": 3}


def test_a_field_does_not_replace_what_every_line_has(lines: io.StringIO) -> None:
    log.info("true", extra={"fields": {"message": "false"}})
    assert only(lines)["message"] == "true"


def test_a_console_line_has_time_level_message_and_fields(console: io.StringIO) -> None:
    log.warning("careful", extra={"fields": {"plugin": "acme", "why": "it is late", "n": 3}})
    assert re.fullmatch(
        r"\S+Z WARNING careful plugin=acme why=\"it is late\" n=3\n",
        console.getvalue(),
    )


@pytest.mark.parametrize("kind", ["console", "json"])
def test_what_a_caller_sends_cannot_forge_a_line(kind: str) -> None:
    stream = io.StringIO()
    configure("json" if kind == "json" else "console", "info", stream)
    log.info("asked for %s", "a\n2026-01-01T00:00:00.000Z INFO    all is well\x1b[2J", extra={"fields": {"x": "a\nb"}})
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("kind", ["console", "json"])
def test_a_secret_is_in_no_line_no_field_and_no_traceback(kind: str) -> None:
    secret = 'correct "horse"\nbattery'
    remember(secret)
    stream = io.StringIO()
    configure("json" if kind == "json" else "console", "info", stream)
    try:
        raise RuntimeError(f"refused {secret}")
    except RuntimeError:
        log.exception("with %s", secret, extra={"fields": {"header": f"Bearer {secret}", "more": [secret]}})
    assert "horse" not in stream.getvalue()
    assert "[secret]" in stream.getvalue()


def test_a_traceback_is_a_field_of_its_json_line(lines: io.StringIO) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log.exception("it failed")
    assert "RuntimeError: broken" in str(only(lines)["exception"])


def test_no_terminal_escape_passes_in_a_traceback(console: io.StringIO) -> None:
    try:
        raise ValueError("\x1b[2J\u202ehidden\u2028next")
    except ValueError:
        logging.getLogger("connectors.test").exception("failed")
    text = console.getvalue()
    assert not set(text) & {"\x1b", "\u202e", "\u2028"}
    assert "\\x1b[2J" in text


def test_a_traceback_is_indented_under_its_console_line(console: io.StringIO) -> None:
    try:
        raise RuntimeError("broken\n2026-01-01T00:00:00.000Z INFO    forged")
    except RuntimeError:
        log.exception("it failed")
    first, *rest = console.getvalue().splitlines()
    assert first.endswith("it failed")
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_debug_lines_of_libraries_are_not_written(console: io.StringIO) -> None:
    logging.getLogger("hpack").debug("a header")
    log.debug("ours")
    assert "a header" not in console.getvalue()
    assert "ours" in console.getvalue()


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure("console", "error", stream)
    log.warning("small")
    logging.getLogger("another").info("small")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("configured", "other"), [("error", "debug"), ("info", "debug"), ("debug", "info")])
def test_the_debug_switch_goes_from_one_level_to_the_other_and_back(configured: str, other: str) -> None:
    stream = io.StringIO()
    configure("json", configured, stream)
    switch, levels = DebugSwitch(configured), []
    for _ in range(3):
        switch.turn()
        levels.append(logging.getLevelName(log.getEffectiveLevel()).lower())
    assert levels == [other, configured, other]
    assert [json.loads(line)["log_level"] for line in stream.getvalue().splitlines()] == levels


def test_python_warnings_are_log_lines(lines: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(True)
        warnings.warn("older", DeprecationWarning, stacklevel=1)
    assert "older" in lines.getvalue()


def test_a_call_is_one_line_with_its_facts(lines: io.StringIO) -> None:
    execution = TaskExecutionId(project="p", domain="d", execution="e", node_id="n0", retry_attempt=2)
    log_call(
        dataclasses.replace(
            GET, operation="create", phase=None, key="k", attempts=2, peer="1.2.3.4:5", execution=execution
        )
    )
    line = only(lines)
    assert line["message"] == "create acme: OK"
    assert {name: line[name] for name in ("operation", "task_type", "status", "seconds", "protocol", "peer")} == {
        "operation": "create",
        "task_type": "acme",
        "status": "OK",
        "seconds": 0.012346,
        "protocol": "flyte2",
        "peer": "1.2.3.4:5",
    }
    assert (line["key"], line["attempts"], line["execution"]) == ("k", 2, "p/d/e/n0/2")
    assert "error" not in line


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (GET, "debug"),
        (dataclasses.replace(GET, phase=Phase.SUCCEEDED), "info"),
        (dataclasses.replace(GET, operation="create", phase=None), "info"),
        (dataclasses.replace(GET, operation="delete", phase=None), "info"),
        (dataclasses.replace(GET, operation="do", phase=Phase.SUCCEEDED), "info"),
        (dataclasses.replace(GET, operation="get_logs", phase=None), "debug"),
        (dataclasses.replace(GET, shielded=True, error="Unavailable"), "warning"),
        (dataclasses.replace(GET, status="NOT_FOUND"), "warning"),
        (dataclasses.replace(GET, status="CANCELLED"), "info"),
        (dataclasses.replace(GET, status="INTERNAL"), "error"),
    ],
)
def test_a_calls_level_says_who_should_read_it(event: CallEvent, level: str, lines: io.StringIO) -> None:
    log_call(event)
    assert only(lines)["level"] == level


def test_a_failed_call_says_what_its_caller_was_told(lines: io.StringIO) -> None:
    log_call(dataclasses.replace(GET, status="INTERNAL", error="ConnectorBug", error_id="e1", message="error e1"))
    line = only(lines)
    assert (line["error"], line["error_id"], line["detail"]) == ("ConnectorBug", "e1", "error e1")


def test_a_plugin_that_cannot_be_used_is_an_error_with_its_traceback_at_debug_alone() -> None:
    failure = LoadFailure("acme", "acme-dist", "it cannot be imported", "import", RuntimeError("broken"))
    for level, has_trace in (("info", False), ("debug", True)):
        stream = io.StringIO()
        configure("json", level, stream)
        log_registry(Registry([], [failure]))
        line = only(stream)
        assert line["message"] == "cannot be used: plugin 'acme' of acme-dist: it cannot be imported"
        assert (line["level"], line["plugin"], line["distribution"]) == ("error", "acme", "acme-dist")
        assert ("exception" in line) is has_trace


def test_a_state_that_a_connector_does_not_know_is_a_warning_once_for_its_task_type(lines: io.StringIO) -> None:
    observe = UnknownStateLog()
    for task_type, states in (("acme", ("NEW",)), ("acme", ("NEW", "NEWER")), ("other", ("NEW",)), ("other", ())):
        observe(dataclasses.replace(GET, task_type=task_type, unknown_states=states))
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(line["task_type"], line["state"]) for line in written] == [
        ("acme", "NEW"),
        ("acme", "NEWER"),
        ("other", "NEW"),
    ]
    assert {line["level"] for line in written} == {"warning"}


def test_the_states_that_were_warned_of_are_bounded_in_number(lines: io.StringIO) -> None:
    observe = UnknownStateLog()
    for number in range(1_500):
        observe(dataclasses.replace(GET, unknown_states=(f"the run waits since {number}",)))
    assert len(lines.getvalue().splitlines()) == 1_000


class Records(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def alone() -> io.StringIO:
    """The log as a server has it: to one stream, and not to the test's own handlers, which come after the fixtures."""
    stream = io.StringIO()
    configure("json", "debug", stream)
    return stream


@pytest.mark.parametrize("kind", ["json", "console"])
def test_a_call_s_line_is_the_same_where_another_handler_takes_its_record(kind: Literal["json", "console"]) -> None:
    calls, written, other = logging.getLogger("connectors.calls"), [], Records()
    for others in (list[Records](), [other]):
        stream = io.StringIO()
        configure(kind, "info", stream)
        calls.handlers[:] = others
        try:
            log_call(dataclasses.replace(GET, operation="create", message="a\nb"))
        finally:
            calls.handlers.clear()
        written.append(re.sub(r"\d{4}-[-\d]+T[:.\d]+Z", "", stream.getvalue()))
    assert written[0] == written[1] != ""
    assert [vars(record)["fields"]["protocol"] for record in other.records] == ["flyte2"]


def test_a_call_s_line_passes_the_filters_of_the_log_s_handler() -> None:
    stream = alone()
    (handler,) = logging.getLogger().handlers
    handler.addFilter(lambda record: "acme" not in record.getMessage())
    for task_type in ("acme", "other"):
        log_call(dataclasses.replace(GET, operation="create", task_type=task_type))
    assert only(stream)["task_type"] == "other"


def test_a_call_s_line_that_cannot_be_written_fails_nothing_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    alone().close()
    log_call(dataclasses.replace(GET, operation="create"))
    told = capsys.readouterr().err
    assert "closed file" in told
    assert "create" in told
