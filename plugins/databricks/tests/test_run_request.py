"""What is sent for a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from connectors import InvalidRequest, TaskExecutionId, TaskExecutionMetadata
from connectors.testing.contexts import NewContext
from connectors_databricks._run_request import RunRequest
from plugins.databricks.tests.conftest import ARGUMENTS, Task

pytestmark = pytest.mark.anyio
KEY = "8d5cf6a3-0f4c-5b0e-9c39-0a2a95644d2e"
CLUSTER = {"spark_version": "13.3.x-scala2.12", "node_type_id": "m5.xlarge", "num_workers": 2}
FLYTE_1 = {
    "git_url": "https://github.com/flyteorg/flytetools",
    "git_provider": "gitHub",
    "git_commit": "572298df1f971fb58c258398bd70a6372f811c96",
}
FLYTE_2 = {**FLYTE_1, "git_commit": "194364210c47c49ce66c419e8fb68d6f9c06fd7e"}
VARIABLES = {"MODE": "daily", "FLYTE_FAIL_ON_ERROR": "true"}
ENTRYPOINT = {
    "python_file": "flytekitplugins/databricks/entrypoint.py",
    "source": "GIT",
    "parameters": list(ARGUMENTS),
}
OWNER_TAGS = {
    "connectors-key": KEY,
    "flyte-project": "sales",
    "flyte-domain": "production",
    "flyte-execution": "f3a-1",
    "flyte-node": "n0",
    "flyte-attempt": "2",
}


@pytest.fixture
def body(task: Task, new_context: NewContext) -> Any:
    def of(
        conf: Mapping[str, Any], *, protocol: Any = "flyte1", provider: str = "", metadata: Any = ..., **more: Any
    ) -> dict[str, Any]:
        context = {} if metadata is ... else {"metadata": metadata}
        ctx = new_context(KEY, protocol=protocol, **context)
        return RunRequest.of(task(conf, **more), ctx, credential_provider=provider).body(KEY)

    return of


# --- classic compute


async def test_an_existing_cluster_runs_flyte_1s_entrypoint(body: Any) -> None:
    assert body({"existing_cluster_id": "0101-abc", "run_name": "mine", "timeout_seconds": 60}) == {
        "run_name": "mine",
        "timeout_seconds": 60,
        "git_source": FLYTE_1,
        "tasks": [
            {"task_key": "flyte_task", "existing_cluster_id": "0101-abc", "spark_python_task": ENTRYPOINT},
        ],
        "idempotency_token": KEY,
    }


async def test_an_existing_cluster_replaces_a_new_one(body: Any) -> None:
    (task,) = body({"existing_cluster_id": "0101-abc", "new_cluster": {"num_workers": 1}})["tasks"]
    assert task == {"task_key": "flyte_task", "existing_cluster_id": "0101-abc", "spark_python_task": ENTRYPOINT}


async def test_a_new_cluster_gets_the_tasks_image_configuration_variables_and_owner(body: Any) -> None:
    sent = body({"new_cluster": CLUSTER})
    assert sent["tasks"][0]["new_cluster"] == {
        **CLUSTER,
        "docker_image": {"url": "registry.example/spark:1"},
        "spark_conf": {"spark.executor.memory": "4g"},
        "spark_env_vars": VARIABLES,
        "custom_tags": OWNER_TAGS,
    }
    assert "new_cluster" not in sent


async def test_what_a_new_cluster_has_of_its_own_stays(body: Any) -> None:
    own = {
        "docker_image": {"url": "other.example/image", "basic_auth": {"username": "u"}},
        "spark_conf": {"spark.x": "1"},
        "spark_env_vars": {"OWN": "1", "MODE": "hourly"},
        "custom_tags": {"team": "features", "flyte-node": "mine"},
    }
    cluster = body({"new_cluster": {**CLUSTER, **own}})["tasks"][0]["new_cluster"]
    assert cluster["docker_image"] == own["docker_image"]
    assert cluster["spark_conf"] == own["spark_conf"]
    assert cluster["spark_env_vars"] == {"OWN": "1", **VARIABLES}
    assert cluster["custom_tags"] == {**OWNER_TAGS, "team": "features", "flyte-node": "mine"}


async def test_no_more_tags_are_sent_than_databricks_takes(body: Any) -> None:
    many = {f"tag-{number}": "x" for number in range(44)}
    tags = body({"new_cluster": {**CLUSTER, "custom_tags": many}})["tasks"][0]["new_cluster"]["custom_tags"]
    assert len(tags) == 45
    assert tags["connectors-key"] == KEY


async def test_what_belongs_to_a_task_is_moved_into_it(body: Any) -> None:
    sent = body({"existing_cluster_id": "c", "libraries": [{"pypi": {"package": "x"}}], "max_retries": 1})
    assert sent["tasks"][0]["libraries"] == [{"pypi": {"package": "x"}}]
    assert sent["tasks"][0]["max_retries"] == 1
    assert not {"libraries", "max_retries", "existing_cluster_id"} & sent.keys()


# --- entrypoints


async def test_flyte_2s_tasks_run_flyte_2s_entrypoint_without_flyte_1s_variable(body: Any) -> None:
    sent = body({"new_cluster": CLUSTER}, arguments=("a0", "--inputs", "s3://x"), protocol="flyte2")
    (job,) = sent["tasks"]
    assert job["spark_python_task"]["python_file"] == "flyteplugins/databricks/entrypoint.py"
    assert job["spark_python_task"]["parameters"] == ["a0", "--inputs", "s3://x"]
    assert job["new_cluster"]["spark_env_vars"] == {"MODE": "daily"}
    assert sent["git_source"] == FLYTE_2


async def test_the_command_tells_the_sdk_where_the_protocol_does_not(body: Any) -> None:
    def source(command: str, protocol: str) -> Any:
        return body({"existing_cluster_id": "c"}, arguments=(command,), protocol=protocol)["git_source"]

    assert source("a0", "local") == FLYTE_2
    assert source("pyflyte-execute", "flyte2") == FLYTE_1
    assert source("own-command", "flyte2") == FLYTE_2
    assert source("own-command", "local") == FLYTE_1


async def test_the_conf_may_name_another_entrypoint_and_repository(body: Any) -> None:
    own = {"git_url": "https://git.example/fork", "git_provider": "gitLab", "git_branch": "main"}
    sent = body({"existing_cluster_id": "c", "git_source": own, "python_file": "run.py"})
    assert sent["git_source"] == own
    assert sent["tasks"][0]["spark_python_task"] == {**ENTRYPOINT, "python_file": "run.py"}
    assert "python_file" not in sent


@pytest.mark.parametrize("path", ["/Workspace/Shared/run.py", "dbfs:/run.py", "s3://bucket/run.py"])
async def test_an_entrypoint_outside_a_repository_checks_none_out(body: Any, path: str) -> None:
    sent = body({"existing_cluster_id": "c", "python_file": path})
    assert sent["tasks"][0]["spark_python_task"] == {"python_file": path, "parameters": list(ARGUMENTS)}
    assert "git_source" not in sent


# --- serverless


async def test_a_serverless_task_gets_an_environment_with_the_tasks_variables(body: Any) -> None:
    sent = body({"environment_key": "own"})
    assert sent["environments"] == [{"environment_key": "own", "spec": {"client": "1", "environment_vars": VARIABLES}}]
    assert sent["tasks"] == [
        {
            "task_key": "flyte_task",
            "environment_key": "own",
            "spark_python_task": {
                **ENTRYPOINT,
                "python_file": "flytekitplugins/databricks/entrypoint_serverless.py",
            },
        }
    ]


async def test_environments_that_come_with_the_conf_are_kept(body: Any) -> None:
    given = [
        {"environment_key": "default", "spec": {"client": "3", "environment_vars": {"OWN": "1"}}},
        {"environment_key": "other", "spec": {"client": "2"}},
    ]
    sent = body({"environments": given})
    spec = {"client": "3", "environment_vars": {"OWN": "1", **VARIABLES}}
    assert sent["environments"] == [{"environment_key": "default", "spec": spec}, given[1]]
    assert sent["tasks"][0]["environment_key"] == "default"


async def test_a_serverless_task_is_told_its_credential_provider(body: Any) -> None:
    def last(**more: Any) -> str:
        parameters = body({"environment_key": "e"}, **more)["tasks"][0]["spark_python_task"]["parameters"]
        assert isinstance(parameters[-1], str)
        return parameters[-1]

    assert last(provider="storage") == "--flyte-credential-provider=storage"
    assert last(provider="storage", databricksServiceCredentialProvider="own") == "--flyte-credential-provider=own"
    assert last() == ARGUMENTS[-1]


# --- notebooks


async def test_a_notebook_takes_the_entrypoints_place(body: Any) -> None:
    sent = body(
        {"existing_cluster_id": "c"}, notebookPath="/Users/a/report", notebookBaseParameters={"day": "2024-01-02"}
    )
    assert sent["tasks"] == [
        {
            "task_key": "flyte_notebook_task",
            "existing_cluster_id": "c",
            "notebook_task": {"notebook_path": "/Users/a/report", "base_parameters": {"day": "2024-01-02"}},
        }
    ]
    assert "git_source" not in sent


async def test_a_notebook_of_a_repository_is_taken_from_there(body: Any) -> None:
    own = {"git_url": "https://git.example/x", "git_provider": "gitHub", "git_branch": "main"}
    sent = body({"environment_key": "e", "git_source": own}, notebookPath="report")
    assert sent["tasks"][0]["notebook_task"] == {"notebook_path": "report", "source": "GIT"}
    assert sent["git_source"] == own


# --- whole tasks


async def test_tasks_that_say_what_to_run_are_sent_as_they_are(body: Any) -> None:
    tasks = [
        {"task_key": "load", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/load"}},
        {"task_key": "sum", "depends_on": [{"task_key": "load"}], "sql_task": {"warehouse_id": "w"}},
    ]
    sent = body({"tasks": tasks})
    assert sent["tasks"] == tasks
    assert "git_source" not in sent


async def test_the_one_task_that_is_left_open_runs_the_tasks_own_code(body: Any) -> None:
    tasks = [
        {"task_key": "load", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/load"}},
        {"task_key": "mine", "depends_on": [{"task_key": "load"}], "new_cluster": CLUSTER},
    ]
    sent = body({"tasks": tasks})
    assert sent["tasks"][0] == tasks[0]
    assert sent["tasks"][1]["spark_python_task"] == ENTRYPOINT
    assert sent["tasks"][1]["new_cluster"]["spark_env_vars"] == VARIABLES
    assert sent["git_source"] == FLYTE_1


async def test_every_new_cluster_has_the_owner(body: Any) -> None:
    other = {"task_key": "other", "new_cluster": CLUSTER, "notebook_task": {"notebook_path": "/x"}}
    sent = body({"tasks": [other], "job_clusters": [{"job_cluster_key": "k", "new_cluster": CLUSTER}]})
    assert sent["tasks"][0]["new_cluster"] == {**CLUSTER, "custom_tags": OWNER_TAGS}
    assert sent["job_clusters"][0]["new_cluster"]["custom_tags"] == OWNER_TAGS


# --- the run


async def test_a_users_own_token_does_not_pass_through(body: Any) -> None:
    assert body({"existing_cluster_id": "c", "idempotency_token": "theirs"})["idempotency_token"] == KEY


async def test_a_run_without_a_name_is_named_after_its_owner(body: Any) -> None:
    conf = {"existing_cluster_id": "c"}
    assert body(conf)["run_name"] == "features.daily (Sales/production/f3a.1/n0, attempt 2)"
    assert body(conf, metadata=TaskExecutionMetadata())["run_name"] == "features.daily"


async def test_tags_have_the_alphabet_that_every_cloud_takes(body: Any) -> None:
    owner = TaskExecutionId(project="Ünï/x", domain="d" * 70, execution="e")
    tags = body({"new_cluster": CLUSTER}, metadata=TaskExecutionMetadata(task_execution_id=owner))["tasks"][0][
        "new_cluster"
    ]["custom_tags"]
    assert tags["flyte-project"] == "-n--x"
    assert tags["flyte-domain"] == "d" * 63
    assert "flyte-node" not in tags


async def test_the_tasks_custom_is_left_as_it_was(task: Task, new_context: NewContext) -> None:
    template = task({"new_cluster": {**CLUSTER}, "environments": None})
    RunRequest.of(template, new_context())
    assert template.custom["databricksConf"] == {"new_cluster": CLUSTER, "environments": None}


# --- what is refused


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({}, "not where to run"),
        ({"run_name": "x"}, "not where to run"),
        ({"new_cluster": "small"}, "new_cluster must be an object"),
        ({"environments": {"a": 1}}, "environments must be a list"),
        ({"environment_key": "e", "environments": ["a"]}, "environments must be a list"),
        ({"tasks": []}, "must not be empty"),
        ({"tasks": "x"}, "tasks must be a list"),
        ({"tasks": [{"task_key": "a"}, {"task_key": "b"}]}, "a, b say not what to run"),
        ({"tasks": [{"task_key": "a"}]}, "not where to run"),
        ({"existing_cluster_id": "c", "python_file": 3}, "python_file must be a path"),
        ({"new_cluster": {"custom_tags": ["a"]}}, "custom_tags must map"),
        ({"new_cluster": {"spark_env_vars": ["a"]}}, "spark_env_vars must map"),
        ({"environments": [{"environment_key": "default", "spec": ["a"]}]}, "spec must map"),
        ({"environments": [{"environment_key": "default", "spec": {"environment_vars": "a"}}]}, "vars must map"),
        ({"new_cluster": {}, "job_clusters": 3}, "job_clusters must be a list"),
    ],
)
async def test_a_conf_that_cannot_run_is_refused(body: Any, conf: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        body(conf)


async def test_custom_of_another_kind_is_refused(task: Task, new_context: NewContext) -> None:
    for custom in (
        {"databricksConf": None},
        {"databricksConf": "x"},
        {"sparkConf": [1], "databricksConf": {"new_cluster": CLUSTER}},
        {"notebookPath": 3},
        {"notebookPath": "/x", "notebookBaseParameters": "y"},
    ):
        with pytest.raises(InvalidRequest, match="must be"):
            RunRequest.of(task(**custom), new_context())


async def test_a_task_without_a_command_is_refused(body: Any) -> None:
    with pytest.raises(InvalidRequest, match="no container arguments"):
        body({"existing_cluster_id": "c"}, arguments=())


async def test_a_notebook_that_no_task_is_open_for_is_refused(body: Any) -> None:
    whole = [{"task_key": "a", "existing_cluster_id": "c", "notebook_task": {"notebook_path": "/a"}}]
    with pytest.raises(InvalidRequest, match="no task open for the notebook"):
        body({"tasks": whole}, notebookPath="/b")
