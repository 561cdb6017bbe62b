"""The placeholders of a container's arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors import Binary, Blob, Container, Interface, InvalidRequest, LiteralType, StructuredDataset, TaskTemplate
from connectors.local import InProcess, run_task
from connectors.local._prefix import OutputPrefix
from connectors.local._rendering import rendered


def render(text: str, *, prefix: str | None = "s3://bucket/run/", inputs: Mapping[str, Any] | None = None) -> str:
    template = TaskTemplate("any", container=Container(args=(text,)))
    place = OutputPrefix(prefix) if prefix else None
    container = rendered(template, inputs or {}, prefix=place, run_name="nightly").container
    assert container is not None
    return container.args[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.input}}", "s3://bucket/run/inputs.pb"),
        ("{{.inputPrefix}}", "s3://bucket/run"),
        ("{{.outputPrefix}}", "s3://bucket/run"),
        ("{{.rawOutputDataPrefix}}", "s3://bucket/run/raw"),
        ("{{.checkpointOutputPrefix}}", "s3://bucket/run/_flytecheckpoints"),
        ("{{.prevCheckpointPrefix}}", ""),
        ("{{.runName}}", "nightly"),
        ("{{.actionName}}", "a0"),
        ("{{ $OUTPUTPREFIX }}", "s3://bucket/run"),
        ("--to={{.outputPrefix}}/x --name {{.runName}}", "--to=s3://bucket/run/x --name nightly"),
        ("{{.somethingElse}}", "{{.somethingElse}}"),
        ("{{.somethingElse.x}}", "{{.somethingElse.x}}"),
        ("{{ outputPrefix }} {.input}", "{{ outputPrefix }} {.input}"),
    ],
)
def test_a_placeholder_stands_for_its_value(text: str, expected: str) -> None:
    assert render(text) == expected


def test_the_start_of_the_run_is_the_time_in_utc() -> None:
    found = render("{{.runStartTime}}")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found)
    assert abs(datetime.fromisoformat(found) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "7"),
        (True, "true"),
        (2.0, "2"),
        (0.1, "0.1"),
        (0.30000000000000004, "0.30000000000000004"),
        ("a b", "a b"),
        (None, ""),
        (datetime(2024, 5, 17, 9, 30, tzinfo=UTC), "2024-05-17T09:30:00Z"),
        (timedelta(minutes=1.5), "90s"),
        (Blob("s3://bucket/file"), "s3://bucket/file"),
        (StructuredDataset("bq://p:d.t"), "bq://p:d.t"),
        ([1, "a"], "[1,a]"),
    ],
)
def test_an_input_is_written_as_text(value: Any, expected: str) -> None:
    assert render("--v={{.inputs.v}}", inputs={"v": value}) == f"--v={expected}"


def test_a_struct_is_written_as_json() -> None:
    assert json.loads(render("{{.inputs.v}}", inputs={"v": {"a": [1, None]}})) == {"a": [1, None]}


def test_an_input_that_holds_a_placeholder_is_not_filled_in_again() -> None:
    assert render("{{.inputs.v}}", inputs={"v": "{{.runName}}"}) == "{{.runName}}"


def test_an_input_that_there_is_not_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match=r"\{\{\.inputs\.w\}\} names an input that there is not"):
        render("{{.inputs.w}}", inputs={"v": 1})


def test_an_input_that_has_no_text_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="no text: Binary"):
        render("{{.inputs.v}}", inputs={"v": Binary(b"")})


def test_a_place_without_an_output_prefix_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="needs an output prefix"):
        render("{{.rawOutputDataPrefix}}", prefix=None)


def test_the_name_of_a_run_needs_no_output_prefix() -> None:
    assert render("{{.runName}}", prefix=None) == "nightly"


@pytest.mark.anyio
async def test_the_connector_gets_the_arguments_filled_in(in_process: InProcess, tmp_path: Path) -> None:
    task = TaskTemplate(
        "silent",
        container=Container(args=("--inputs", "{{.input}}", "--v={{.inputs.v}}")),
        interface=Interface({"v": LiteralType("integer")}),
    )
    outcome = await run_task(task, {"v": 7}, via=in_process, output_prefix=str(tmp_path))
    assert json.loads(outcome.meta) == {"args": ["--inputs", f"{tmp_path}/inputs.pb", "--v=7"]}
