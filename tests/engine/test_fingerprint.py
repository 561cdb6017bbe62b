"""What makes two requests the same request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors._engine.fingerprint import fingerprint_of
from connectors._engine.requests import Caller, CreateRequest
from connectors.models import Container, Identifier, Sql, TaskCategory, TaskExecutionMetadata, TaskTemplate

TASK = TaskTemplate("acme", id=Identifier(project="p", name="n"), custom={"b": {"x": 1, "y": [2]}, "a": 1.5})


@dataclass(frozen=True)
class Point:
    x: int


@dataclass(frozen=True)
class Place:
    x: int


def taken(template: TaskTemplate = TASK, **inputs: Any) -> str:
    return fingerprint_of(
        CreateRequest(
            caller=Caller("flyte2"),
            category=TaskCategory(template.type),
            output_prefix="s3://bucket/prefix",
            metadata=TaskExecutionMetadata(),
            template=lambda: template,
            inputs=lambda: inputs,
        )
    )


def test_the_order_of_a_map_is_no_difference() -> None:
    turned = replace(TASK, custom={"a": 1.5, "b": {"y": [2], "x": 1}})
    assert taken(turned, v={"k": 1, "l": {2, 3}}, w="x") == taken(w="x", v={"l": {3, 2}, "k": 1})


@pytest.mark.parametrize(
    "other",
    [
        replace(TASK, task_type_version=1),
        replace(TASK, id=Identifier(project="p", name="other")),
        replace(TASK, custom={"a": 1.5}),
        replace(TASK, config={"k": "v"}),
        replace(TASK, sql=Sql("SELECT 1")),
        replace(TASK, container=Container(args=("a",))),
        replace(TASK, k8s_pod={"spec": {}}),
    ],
    ids=["version", "id", "custom", "config", "sql", "args", "pod"],
)
def test_what_a_task_is_to_do_is_a_difference(other: TaskTemplate) -> None:
    assert taken(other) != taken()


def test_a_containers_environment_is_no_difference() -> None:
    with_one = replace(TASK, container=Container(args=("a",), env={"A": "b"}))
    assert taken(with_one) == taken(replace(TASK, container=Container(args=("a",))))


def test_values_that_look_alike_are_a_difference() -> None:
    alike = (
        1,
        1.0,
        True,
        "1",
        b"1",
        [1],
        {1: 1},
        {"1": 1},
        {1},
        Point(1),
        Place(1),
        None,
        datetime(1, 1, 1, tzinfo=UTC),
    )
    assert len({taken(v=value) for value in alike}) == len(alike)
    assert len({taken(v=[value]) for value in alike}) == len(alike)
