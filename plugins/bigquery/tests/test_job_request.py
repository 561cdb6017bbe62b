from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from connectors import InvalidRequest, LiteralType, Sql, TaskExecutionId, TaskExecutionMetadata, TaskTemplate
from connectors.testing.contexts import NewContext
from connectors_bigquery._job_request import JobRequest

pytestmark = pytest.mark.anyio
Query = Callable[..., TaskTemplate]


async def test_every_key_of_the_job_configuration_is_sent_as_it_is(new_context: NewContext, query: Query) -> None:
    given = {
        "destinationTable": {"projectId": "p", "datasetId": "d", "tableId": "t"},
        "maximumBytesBilled": "1000",
        "priority": "BATCH",
        "useQueryCache": False,
        "keyOfAnotherYear": {"deep": [1]},
    }
    request = JobRequest.of(query("SELECT 1", **given), new_context())
    assert request.configuration["query"] == {"useLegacySql": False, **given, "query": "SELECT 1"}


async def test_what_every_kind_of_job_has_stands_beside_the_query(new_context: NewContext, query: Query) -> None:
    task = query("SELECT 1", jobTimeoutMs="60000", reservation="r", maxSlots="5", labels={"team": "a"})
    configuration = JobRequest.of(task, new_context()).configuration
    assert configuration["query"] == {"useLegacySql": False, "query": "SELECT 1"}
    assert {key: configuration[key] for key in ("jobTimeoutMs", "reservation", "maxSlots")} == {
        "jobTimeoutMs": "60000",
        "reservation": "r",
        "maxSlots": "5",
    }
    assert configuration["labels"]["team"] == "a"


async def test_the_connectors_own_keys_and_nulls_are_not_sent(new_context: NewContext, query: Query) -> None:
    task = query("SELECT 1", secrets={"google_application_credentials": "name"}, configs={}, priority=None)
    assert JobRequest.of(task, new_context()).configuration["query"] == {"useLegacySql": False, "query": "SELECT 1"}


async def test_legacy_sql_is_honoured_where_it_is_asked_for(new_context: NewContext, query: Query) -> None:
    request = JobRequest.of(query("SELECT 1", useLegacySql=True), new_context())
    assert request.configuration["query"]["useLegacySql"] is True


async def test_the_key_is_the_job_id_and_a_label(new_context: NewContext, query: Query) -> None:
    context = new_context()
    request = JobRequest.of(query(Location="EU"), context)
    assert request.body(context.idempotency_key)["jobReference"] == {
        "projectId": "example-project",
        "location": "EU",
        "jobId": context.idempotency_key,
    }
    assert request.configuration["labels"]["connectors-key"] == context.idempotency_key


async def test_without_a_location_bigquery_chooses_it(new_context: NewContext, query: Query) -> None:
    assert JobRequest.of(query(), new_context()).body("k")["jobReference"] == {
        "projectId": "example-project",
        "jobId": "k",
    }


async def test_a_dry_run_has_no_job_id(new_context: NewContext, query: Query) -> None:
    body = JobRequest.of(query(), new_context()).dry_run()
    assert body["jobReference"] == {"projectId": "example-project"}
    assert body["configuration"]["dryRun"] is True


async def test_the_owner_is_in_the_labels_in_their_alphabet(new_context: NewContext, query: Query) -> None:
    labels = JobRequest.of(query(), new_context("k")).configuration["labels"]
    assert labels == {
        "connectors-key": "k",
        "flyte-project": "sales",
        "flyte-domain": "production",
        "flyte-execution": "f3a-1",
        "flyte-node": "n0",
        "flyte-attempt": "2",
    }


async def test_a_label_is_at_most_63_characters(new_context: NewContext, query: Query) -> None:
    owner = TaskExecutionMetadata(task_execution_id=TaskExecutionId(execution="X" * 100 + "é"))
    labels = JobRequest.of(query(), new_context(metadata=owner)).configuration["labels"]
    assert labels["flyte-execution"] == "x" * 63


async def test_the_users_labels_win_over_the_owners(new_context: NewContext, query: Query) -> None:
    labels = JobRequest.of(query(labels={"flyte-node": "mine"}), new_context()).configuration["labels"]
    assert labels["flyte-node"] == "mine"


async def test_the_key_wins_over_the_users_label(new_context: NewContext, query: Query) -> None:
    labels = JobRequest.of(query(labels={"connectors-key": "mine"}), new_context("k")).configuration["labels"]
    assert labels["connectors-key"] == "k"


async def test_the_owner_gives_way_where_64_labels_are_full(new_context: NewContext, query: Query) -> None:
    given = {f"label{number}": "" for number in range(62)}
    labels = JobRequest.of(query(labels=given), new_context()).configuration["labels"]
    assert len(labels) == 64
    assert given.keys() | {"connectors-key", "flyte-execution"} == labels.keys()


async def test_labels_without_room_for_the_key_are_an_error(new_context: NewContext, query: Query) -> None:
    with pytest.raises(InvalidRequest, match="at most 64 labels"):
        JobRequest.of(query(labels={f"label{number}": "" for number in range(64)}), new_context())


async def test_inputs_are_named_parameters(new_context: NewContext, query: Query) -> None:
    request = JobRequest.of(query("SELECT @n", declared={"n": LiteralType("integer")}), new_context(inputs={"n": None}))
    sent = request.configuration["query"]
    assert sent["parameterMode"] == "NAMED"
    assert sent["queryParameters"] == [
        {"name": "n", "parameterType": {"type": "INT64"}, "parameterValue": {"value": None}}
    ]


async def test_without_inputs_the_users_own_parameters_are_sent(new_context: NewContext, query: Query) -> None:
    given = {"parameterMode": "POSITIONAL", "queryParameters": [{"parameterType": {"type": "INT64"}}]}
    sent = JobRequest.of(query("SELECT ?", **given), new_context()).configuration["query"]
    assert {key: sent[key] for key in given} == given


async def test_an_input_wins_over_the_users_parameter_of_its_name(new_context: NewContext, query: Query) -> None:
    given = [{"name": "N", "parameterType": {"type": "STRING"}}, {"name": "m", "parameterType": {"type": "STRING"}}]
    request = JobRequest.of(query("SELECT @n, @m", queryParameters=given), new_context(inputs={"n": 1}))
    assert [parameter["name"] for parameter in request.configuration["query"]["queryParameters"]] == ["m", "n"]


async def test_inputs_beside_positional_parameters_are_an_error(new_context: NewContext, query: Query) -> None:
    task = query("SELECT ?", parameterMode="POSITIONAL", queryParameters=[{"parameterType": {"type": "INT64"}}])
    with pytest.raises(InvalidRequest, match="positional"):
        JobRequest.of(task, new_context(inputs={"n": 1}))


async def test_malformed_parameters_of_the_user_are_an_error(new_context: NewContext, query: Query) -> None:
    with pytest.raises(InvalidRequest, match="queryParameters"):
        JobRequest.of(query("SELECT @n", queryParameters="n"), new_context(inputs={"n": 1}))


@pytest.mark.parametrize("sql", [None, Sql("  ")])
async def test_a_task_without_a_statement_is_an_error(new_context: NewContext, query: Query, sql: Sql | None) -> None:
    with pytest.raises(InvalidRequest, match="no SQL statement"):
        JobRequest.of(replace(query(), sql=sql), new_context())


@pytest.mark.parametrize(
    ("custom", "reason"),
    [
        ({"ProjectID": None}, "no ProjectID"),
        ({"ProjectID": 5}, "custom.ProjectID must be a string"),
        ({"Location": ["EU"]}, "custom.Location must be a string"),
        ({"labels": ["a"]}, "custom.labels must map"),
        ({"dryRun": True}, "dryRun makes no job"),
    ],
)
async def test_what_no_job_can_have_is_an_error(
    new_context: NewContext, query: Query, custom: dict[str, object], reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        JobRequest.of(query(**custom), new_context())


async def test_the_user_agent_names_the_version_and_the_domain(new_context: NewContext, query: Query) -> None:
    agent = JobRequest.of(query(Domain="dev\r\nX-Evil: 1"), new_context()).user_agent
    assert re.fullmatch(r"Flytekit/\d+\.\d+\.\d+ \(GPN:Union;devX-Evil1\)", agent)
