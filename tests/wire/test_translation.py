"""Models to messages and back, over both protocols, through the bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from flyteidl.core import literals_pb2
from flyteidl2.core import literals_pb2 as literals2_pb2
from hypothesis import given
from hypothesis import strategies as st

from connectors import (
    Container,
    Identifier,
    Identity,
    Interface,
    InvalidRequest,
    LiteralType,
    LogLine,
    MetricResult,
    Phase,
    Resource,
    ResourceError,
    SecretReference,
    Sql,
    TaskExecutionId,
    TaskExecutionMetadata,
    TaskLog,
    TaskMetadata,
    TaskTemplate,
)
from connectors._literals import Unencodable, to_literal
from connectors._messages.decoding import parse
from connectors._messages.encoding import serialise
from connectors._messages.executions import read_execution_metadata, write_execution_metadata
from connectors._messages.instants import read_duration, read_timestamp, write_duration, write_timestamp
from connectors._messages.observations import read_line, read_metrics, write_line, write_metric
from connectors._messages.resources import read_resource, write_resource_v1, write_resource_v2
from connectors._messages.schema import plan_of
from connectors._messages.templates import read_template, write_template
from connectors._proto.flyteidl import admin
from connectors._proto.flyteidl import core as core_v1
from connectors._proto.flyteidl2 import connector
from connectors._proto.flyteidl2 import core as core_v2
from connectors._proto.flyteidl2.logs import dataplane
from connectors._proto.google.protobuf import Duration, Timestamp

CORES = pytest.mark.parametrize("core", [core_v1, core_v2], ids=["flyte1", "flyte2"])

PLAIN = TaskTemplate(
    type="acme",
    task_type_version=2,
    id=Identifier("p", "d", "n", "v", "o", "TASK"),
    custom={"a": 1, "b": [True, None, 2.5, {"c": "ö"}]},
    config={"user": "ada"},
    interface=Interface(
        inputs={
            "x": LiteralType("integer"),
            "y": LiteralType("collection", element=LiteralType("string")),
            "z": LiteralType("union", variants=(LiteralType("none"), LiteralType("float"))),
        },
        outputs={"o0": LiteralType("structured_dataset", format="parquet")},
    ),
    metadata=TaskMetadata(
        retries=3,
        timeout=timedelta(minutes=5),
        discoverable=True,
        discovery_version="1",
        runtime="FLYTE_SDK",
        runtime_version="1.16",
        runtime_flavor="python",
        tags={"t": "u"},
    ),
    secrets=(SecretReference("group", "key", "v1", "ENV"),),
)


@CORES
@pytest.mark.parametrize(
    "target",
    [
        {},
        {"sql": Sql("SELECT 1", "ANSI")},
        {
            "container": Container(
                "img:1",
                ("run",),
                ("{{.input}}",),
                {"A": "b"},
                {"cpu": "500m", "ephemeral_storage": "1Gi"},
                {"gpu": "1"},
            )
        },
        {"k8s_pod": {"containers": [{"name": "main"}]}},
    ],
    ids=["none", "sql", "container", "pod"],
)
def test_a_template_is_read_as_it_was_written(core: ModuleType, target: dict[str, Any]) -> None:
    task = TaskTemplate(**{**vars(PLAIN), **target})
    assert read_template(parse(core.TaskTemplate, serialise(write_template(task, core)))) == task


@CORES
def test_a_template_with_nothing_but_its_type_is_read(core: ModuleType) -> None:
    assert read_template(parse(core.TaskTemplate, b"\x12\x04acme")) == TaskTemplate(type="acme")


@CORES
def test_a_timeout_that_python_cannot_hold_is_named(core: ModuleType) -> None:
    message = core.TaskTemplate(metadata=core.TaskMetadata(timeout=Duration(seconds=1 << 62)))
    with pytest.raises(InvalidRequest, match=r"template\.metadata\.timeout"):
        read_template(message)


@pytest.mark.parametrize(("core", "calls"), [(core_v1, admin), (core_v2, connector)], ids=["flyte1", "flyte2"])
@pytest.mark.parametrize(
    "metadata",
    [
        TaskExecutionMetadata(),
        TaskExecutionMetadata(
            task_execution_id=TaskExecutionId(
                Identifier("p", "d", "n", "v", "", "TASK"), "p", "d", "ex1", "org", "n0-0-dn1", 4
            ),
            namespace="ns",
            labels={"a": "b"},
            annotations={"c": "d"},
            k8s_service_account="sa",
            environment_variables={"E": "f"},
            identity=Identity("role", "sa2", "who"),
        ),
    ],
    ids=["empty", "full"],
)
def test_an_executions_metadata_is_read_as_it_was_written(
    core: ModuleType, calls: ModuleType, metadata: TaskExecutionMetadata
) -> None:
    data = serialise(write_execution_metadata(metadata, core, calls))
    assert read_execution_metadata(parse(calls.TaskExecutionMetadata, data)) == metadata


def test_absent_metadata_is_empty() -> None:
    assert read_execution_metadata(None) == TaskExecutionMetadata()


FULL = Resource(
    Phase.FAILED,
    "why",
    (TaskLog("https://x.example", "UI"),),
    {"a": 1, "b": [1.5, None], "c": {"d": "e"}},
    {"info": [1, {"x": False}]},
)


@pytest.mark.parametrize("resource", [Resource(Phase.RUNNING), FULL, Resource(Phase.SUCCEEDED, outputs={})])
def test_a_resource_is_read_as_it_was_written(resource: Resource) -> None:
    v1 = parse(admin.Resource, serialise(write_resource_v1(resource)))
    v2 = parse(connector.Resource, serialise(write_resource_v2(resource)))
    assert read_resource(v1) == read_resource(v2) == resource


@pytest.mark.parametrize("origin", ["UNKNOWN", "USER", "SYSTEM"])
@pytest.mark.parametrize("recoverable", [True, False])
def test_an_error_code_is_read_as_it_was_written(origin: Any, recoverable: bool) -> None:
    resource = Resource(Phase.FAILED, error=ResourceError("Code", recoverable, origin))
    assert read_resource(parse(admin.Resource, serialise(write_resource_v1(resource)))) == resource


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_a_number_on_both_wires(phase: Phase) -> None:
    assert int(write_resource_v1(Resource(phase)).phase) == int(write_resource_v2(Resource(phase)).phase) == phase.value
    assert read_resource(write_resource_v2(Resource(phase))).phase is phase


def test_a_phase_of_a_later_release_reads_as_undefined() -> None:
    assert read_resource(parse(connector.Resource, b"\x28\x63")).phase is Phase.UNDEFINED


def test_an_output_that_no_literal_holds_is_named() -> None:
    with pytest.raises(Unencodable, match="output o0"):
        write_resource_v2(Resource(Phase.SUCCEEDED, outputs={"o0": object()}))


@pytest.mark.parametrize("lines", [admin, dataplane], ids=["flyte1", "flyte2"])
def test_a_log_line_is_read_as_it_was_written(lines: ModuleType) -> None:
    line = LogLine("text", datetime(2024, 2, 29, 12, 0, 0, 123, tzinfo=UTC), "SYSTEM")
    assert read_line(parse(lines.LogLine, serialise(write_line(line, lines)))) == line


@CORES
def test_a_metric_is_read_as_it_was_written(core: ModuleType) -> None:
    result = MetricResult("cpu", {"series": [1, 2.5]})
    data = serialise(write_metric(result, core))
    assert read_metrics([parse(core.ExecutionMetricResult, data)]) == (result,)


def test_times_that_are_absent_stay_absent() -> None:
    assert (read_timestamp(None, "x"), read_duration(None, "x")) == (None, None)
    assert (write_timestamp(None, "x"), write_duration(None, "x")) == (None, None)


def test_times_out_of_range_are_named() -> None:
    with pytest.raises(InvalidRequest, match="start_time"):
        read_timestamp(Timestamp(seconds=1 << 60), "start_time")
    with pytest.raises(InvalidRequest, match="step"):
        read_duration(Duration(seconds=1 << 60), "step")
    with pytest.raises(Unencodable, match="step"):
        write_duration(timedelta(days=10_000 * 400), "step")


def test_flyte_2s_literals_have_every_field_of_flyte_1s() -> None:
    """Which is why outputs that were written for the one can be sent to the other."""
    seen: set[tuple[Any, Any]] = set()

    def compare(old: Any, new: Any) -> None:
        if (old.cls, new.cls) in seen:
            return
        seen.add((old.cls, new.cls))
        for field in old.fields:
            its = new.by_name[field.name]
            assert (its.number, its.kind) == (field.number, field.kind)
            if hasattr(field.detail, "plan"):
                compare(field.detail.plan, its.detail.plan)

    compare(plan_of(core_v1.Literal), plan_of(core_v2.Literal))
    assert len(seen) > 20


NUMBERS = st.lists(st.one_of(st.floats(), st.integers(-5, 5), st.text(max_size=2), st.none()), max_size=6)


@CORES
@given(values=st.lists(st.one_of(NUMBERS, st.lists(st.floats(), max_size=6)), max_size=4))
def test_collections_of_numbers_are_written_as_protobuf_writes_them(core: ModuleType, values: list[Any]) -> None:
    official = literals_pb2 if core is core_v1 else literals2_pb2
    written = serialise(to_literal(values, core))
    read = official.Literal.FromString(written)
    assert read.SerializeToString(deterministic=True) == written
    assert len(read.collection.literals) == len(values)
    assert parse(core.Literal, written) == to_literal(values, core)


@CORES
def test_a_number_with_a_hash_keeps_it(core: ModuleType) -> None:
    number = core.Scalar(primitive=core.Primitive(float_value=0.5))
    literals = [core.Literal(scalar=number), core.Literal(scalar=number, hash="h"), core.Literal(scalar=number)]
    message = core.LiteralCollection(literals=literals)
    assert parse(core.LiteralCollection, serialise(message)) == message
