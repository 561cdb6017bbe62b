"""A task as the body of ``runs/submit``: https://docs.databricks.com/api/workspace/jobs/submit.

The body always has ``tasks``, the form that both versions of the API document. A conf of the older form, which
describes its single task beside what belongs to the run, is taken apart.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors import Context, InvalidRequest, TaskTemplate
from connectors_databricks._compute import tag_clusters, with_cluster, with_environment
from connectors_databricks._custom import mapping, text
from connectors_databricks._entrypoint import entrypoint_of
from connectors_databricks._owner import run_name, tags

__all__ = ["RunRequest"]

_TASK_KEY = "flyte_task"
_NOTEBOOK_TASK_KEY = "flyte_notebook_task"
_OF_THE_TASK: Final = frozenset(
    (
        "compute",
        "depends_on",
        "description",
        "disable_auto_optimization",
        "environment_key",
        "environment_variables_key",
        "existing_cluster_id",
        "libraries",
        "max_retries",
        "min_retry_interval_millis",
        "new_cluster",
        "retry_on_timeout",
        "run_if",
    )
)
"""What a task has and a run has not. What both have (``timeout_seconds``, notifications) stays the run's."""
_OWN_KEYS: Final = frozenset(("idempotency_token", "python_file", "tasks"))


@dataclass(frozen=True)
class RunRequest:
    """What to send."""

    settings: Mapping[str, Any]
    """The body but for the token."""

    @classmethod
    def of(cls, task: TaskTemplate, ctx: Context, *, credential_provider: str = "") -> RunRequest:
        """The request that a task stands for.

        :param credential_provider: for serverless tasks that name none.
        :raises InvalidRequest: the task has no conf or no compute, or something in it is of another kind than expected.
        """
        conf = copy.deepcopy(dict(mapping(task.custom, "databricksConf", required=True)))
        tasks = _tasks(conf, task)
        if not tasks:
            raise InvalidRequest("the task's databricksConf.tasks must not be empty")
        open_tasks = [item for item in tasks if not _runs_something(item)]
        if len(open_tasks) > 1:
            keys = ", ".join(str(item.get("task_key")) for item in open_tasks)
            raise InvalidRequest(
                f"of the tasks in databricksConf.tasks one may be left open, for the task's own code: {keys} say not "
                "what to run"
            )
        run = {name: value for name, value in conf.items() if not _is_elsewhere(name) and value is not None}
        if open_tasks:
            _fill(run, open_tasks[0], conf, task, ctx, credential_provider=credential_provider)
        elif task.custom.get("notebookPath"):
            raise InvalidRequest("databricksConf.tasks leaves no task open for the notebook in notebookPath")
        run["tasks"] = tasks
        run.setdefault("run_name", run_name(task, ctx))
        tag_clusters(run, tags(ctx))
        return cls(run)

    def body(self, token: str) -> dict[str, Any]:
        """The body that makes one run per token."""
        return {**self.settings, "idempotency_token": token}


def _tasks(conf: Mapping[str, Any], task: TaskTemplate) -> list[dict[str, Any]]:
    """The conf's own tasks; where it has none, one of what it says of its single task."""
    given = conf.get("tasks")
    if given is not None:
        if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
            raise InvalidRequest("the task's databricksConf.tasks must be a list of objects")
        return [dict(item) for item in given]
    key = _NOTEBOOK_TASK_KEY if task.custom.get("notebookPath") else _TASK_KEY
    # As with the reference, the task's own code takes the place of a Python file that the conf names.
    single = {
        name: value
        for name, value in conf.items()
        if (name in _OF_THE_TASK or (name.endswith("_task") and name != "spark_python_task")) and value is not None
    }
    return [{"task_key": key, **single}]


def _is_elsewhere(name: str) -> bool:
    return name in _OF_THE_TASK or name in _OWN_KEYS or name.endswith("_task")


def _runs_something(task: Mapping[str, Any]) -> bool:
    return any(name.endswith("_task") and value is not None for name, value in task.items())


def _fill(
    run: dict[str, Any],
    job: dict[str, Any],
    conf: Mapping[str, Any],
    task: TaskTemplate,
    ctx: Context,
    *,
    credential_provider: str,
) -> None:
    """Give the open task what it runs and where: the task's notebook, or its function through Flyte's entrypoint."""
    job.setdefault("task_key", _TASK_KEY)
    entrypoint = entrypoint_of(task, ctx)
    environment = entrypoint.environment(task.container.env if task.container is not None else {})
    if job.get("existing_cluster_id") is not None:
        serverless = False
        job.pop("new_cluster", None)  # Databricks refuses a task that has both
    elif job.get("job_cluster_key") is not None:
        serverless = False
    elif job.get("new_cluster") is not None:
        serverless = False
        image = task.container.image if task.container is not None else ""
        job["new_cluster"] = with_cluster(
            job["new_cluster"], image=image, spark_conf=mapping(task.custom, "sparkConf"), variables=environment
        )
    elif job.get("environment_key") or conf.get("environments"):
        serverless = True
        job["environment_key"], run["environments"] = with_environment(
            job.get("environment_key"), conf.get("environments"), variables=environment
        )
    else:
        raise InvalidRequest(
            "the task's databricksConf says not where to run: expected existing_cluster_id or new_cluster (classic "
            "compute), or environment_key or environments (serverless)"
        )
    notebook = text(task.custom, "notebookPath")
    if notebook:
        job["notebook_task"] = _notebook(
            notebook, mapping(task.custom, "notebookBaseParameters"), run.get("git_source")
        )
        return
    provider = text(task.custom, "databricksServiceCredentialProvider") or credential_provider
    entrypoint.add(run, job, conf.get("python_file"), serverless=serverless, credential_provider=provider)


def _notebook(path: str, parameters: Mapping[str, Any], git_source: Any) -> dict[str, Any]:
    notebook: dict[str, Any] = {"notebook_path": path}
    if parameters:
        notebook["base_parameters"] = dict(parameters)
    if git_source:
        notebook["source"] = "GIT"
    return notebook
