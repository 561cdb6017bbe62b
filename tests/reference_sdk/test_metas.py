"""Jobs under way when one service takes over from the other: each reads the metas that the other wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from connectors import InvalidRequest, ResourceMeta
from connectors_bigquery import BigQueryJob
from connectors_databricks import DatabricksRun
from connectors_openai import OpenAIBatch
from connectors_snowflake import SnowflakeJob
from tests.reference_sdk.callers import Flyte1, Flyte2
from tests.reference_sdk.conftest import OUR_METAS, THEIR_METAS
from tests.reference_sdk.environment import FLYTE_SDK, Answers
from tests.reference_sdk.programs import Program

pytestmark = pytest.mark.timeout(900)  # the first test may make the environment
KINDS: dict[str, type[ResourceMeta]] = {
    "bigquery": BigQueryJob,
    "databricks": DatabricksRun,
    "snowflake": SnowflakeJob,
}
TASKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bigquery": ("bigquery", {"minimum": 5}),
    "databricks": ("classic", {"day": "2024-01-02"}),
    "snowflake": ("snowflake", {"minimum": 5}),
}
"""By plugin, one of the reference's own tasks, and its inputs."""


@pytest.mark.parametrize("name", KINDS)
def test_the_references_meta_is_read(answers: Answers, name: str) -> None:
    job = KINDS[name].decode(answers.written[name])
    assert {field: getattr(job, field) for field in THEIR_METAS[name]} == THEIR_METAS[name]


def test_the_references_pickle_is_refused(answers: Answers) -> None:
    with pytest.raises(InvalidRequest):
        OpenAIBatch.decode(answers.written["openai-batch"])


@pytest.mark.parametrize("name", KINDS)
def test_the_reference_reads_ours_but_those_of_what_it_cannot_do(answers: Answers, name: str) -> None:
    read = []
    for meta, found in zip(OUR_METAS[name], answers.read[name], strict=True):
        sent = json.loads(meta.encode())
        if sent.keys() <= fields_of_theirs(answers, name):
            assert isinstance(found, dict), f"{meta}: {found}"
            assert {field: found[field] for field in sent} == sent
            read.append(meta)
    assert read


@pytest.mark.parametrize("name", KINDS)
def test_the_meta_of_the_references_own_task_has_no_field_that_the_reference_lacks(
    answers: Answers, flyte1: Flyte1, name: str
) -> None:
    task, inputs = TASKS[name]
    meta = flyte1.create(answers.templates[task], inputs)
    assert json.loads(meta).keys() <= fields_of_theirs(answers, name)


# --- Flyte 2's


FLYTE_2: Mapping[str, Mapping[str, Any]] = {
    "bigquery": {"job_id": "j-1", "project": "example-project", "location": "EU", "user_agent": "Flyte/2.12"},
    "databricks": {"databricks_instance": "example.cloud.databricks.com", "run_id": "17"},
}


def flyte_2s(folder: Path, read: Mapping[str, Sequence[bytes]]) -> Any:
    asked = {"read": {name: [meta.decode() for meta in metas] for name, metas in read.items()}, "write": FLYTE_2}
    program = Program.of(FLYTE_SDK, "inside_metas_flyte2.py")
    return program.result(json.dumps(asked), variables={"HOME": str(folder)}, folder=folder)


@pytest.mark.parametrize("name", FLYTE_2)
def test_a_meta_of_flyte_2s_is_read(tmp_path: Path, name: str) -> None:
    job = KINDS[name].decode(flyte_2s(tmp_path, {})["written"][name].encode())
    assert {field: getattr(job, field) for field in FLYTE_2[name]} == FLYTE_2[name]


@pytest.mark.parametrize("name", FLYTE_2)
def test_flyte_2s_connector_reads_the_meta_of_a_job_that_was_made_for_flyte_2(
    answers: Answers, channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    task, inputs = TASKS[name]
    meta = Flyte2(channel).create(answers.templates[task], inputs)
    (found,) = flyte_2s(tmp_path, {name: [meta]})["read"][name]
    assert found == json.loads(meta)
    assert found.keys() == FLYTE_2[name].keys()


def test_flyte_2s_connector_reads_no_meta_that_says_whose_credentials_made_the_job(tmp_path: Path) -> None:
    metas: dict[str, Sequence[ResourceMeta]] = {
        "bigquery": [BigQueryJob("j", "p", "EU", "a", secret_name="n"), BigQueryJob("j", "p", "EU", "a", None, "r")],
        "databricks": [DatabricksRun("h", "1", namespace="sales"), DatabricksRun("h", "1", auth_type="secret")],
    }
    found = flyte_2s(tmp_path, {name: [meta.encode() for meta in several] for name, several in metas.items()})["read"]
    assert found == {"bigquery": ["KeyError", "KeyError"], "databricks": ["KeyError", "KeyError"]}


# --- their common step


def fields_of_theirs(answers: Answers, name: str) -> set[str]:
    """They write all of them, also those without a value."""
    return set(json.loads(answers.written[name]))
