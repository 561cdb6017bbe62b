"""Jobs under way when one service takes over from the other: each reads the metas that the other wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from connectors import InvalidRequest, ResourceMeta
from connectors_bigquery import BigQueryJob
from connectors_databricks import DatabricksRun
from connectors_openai import OpenAIBatch
from connectors_snowflake import SnowflakeJob
from tests.reference_sdk.callers import Flyte1
from tests.reference_sdk.conftest import OUR_METAS, THEIR_METAS
from tests.reference_sdk.environment import Answers

pytestmark = pytest.mark.timeout(900)  # the first test may make the environment
KINDS: dict[str, type[ResourceMeta]] = {
    "bigquery": BigQueryJob,
    "databricks": DatabricksRun,
    "snowflake": SnowflakeJob,
}


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


@pytest.mark.parametrize(
    ("name", "task", "inputs"),
    [
        ("bigquery", "bigquery", {"minimum": 5}),
        ("databricks", "classic", {"day": "2024-01-02"}),
        ("snowflake", "snowflake", {"minimum": 5}),
    ],
)
def test_the_meta_of_the_references_own_task_has_no_field_that_the_reference_lacks(
    answers: Answers, flyte1: Flyte1, name: str, task: str, inputs: Mapping[str, Any]
) -> None:
    meta = flyte1.create(answers.templates[task], inputs)
    assert json.loads(meta).keys() <= fields_of_theirs(answers, name)


def fields_of_theirs(answers: Answers, name: str) -> set[str]:
    """They write all of them, also those without a value."""
    return set(json.loads(answers.written[name]))
