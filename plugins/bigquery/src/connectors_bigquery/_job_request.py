"""A task as the body of ``jobs.insert``: configuration, labels, reference.

https://cloud.google.com/bigquery/docs/reference/rest/v2/Job: what is peculiar to queries stands in
``configuration.query``; the keys that every kind of job has stand beside it. A task's ``custom`` holds both flattened,
beside the connector's own keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from connectors import Context, InvalidRequest, TaskTemplate
from connectors_bigquery._credentials import SECRET
from connectors_bigquery._parameters import query_parameters

__all__ = ["KEY_LABEL", "JobRequest", "user_agent"]

KEY_LABEL = "connectors-key"
"""The label that carries the idempotency key: a job that has it is the one that this key made."""

_OWN_KEYS = frozenset({"ProjectID", "Location", "Domain", "secrets", "configs", "query"})
_JOB_KEYS = frozenset({"dryRun", "jobTimeoutMs", "labels", "maxSlots", "reservation"})
_MOST_LABELS = 64
_LONGEST_LABEL = 63


@dataclass(frozen=True)
class JobRequest:
    """What to send, and where."""

    project: str
    location: str | None
    """None leaves it to BigQuery, which takes it from the datasets that the statement names."""
    configuration: Mapping[str, Any]
    user_agent: str
    secret_name: str = ""
    """What the task calls the secret with its credentials; "": nothing."""

    @classmethod
    def of(cls, task: TaskTemplate, ctx: Context) -> JobRequest:
        """The request that a task stands for.

        :raises InvalidRequest: the task has no statement or no project, or holds something that no job can have.
        """
        if task.sql is None or not task.sql.statement.strip():
            raise InvalidRequest("the task has no SQL statement")
        domain = _optional_text(task.custom, "Domain") or _domain(ctx)
        return cls(
            project=_project(task.custom),
            location=_optional_text(task.custom, "Location"),
            configuration=_configuration(task, task.sql.statement, ctx, domain),
            user_agent=user_agent(domain),
            secret_name=_secret_name(task.custom),
        )

    def body(self, job_id: str) -> dict[str, Any]:
        """The body that makes the job ``job_id``."""
        return {"jobReference": self._reference() | {"jobId": job_id}, "configuration": self.configuration}

    def dry_run(self) -> dict[str, Any]:
        """The body that makes no job: its answer tells the location."""
        return {"jobReference": self._reference(), "configuration": {**self.configuration, "dryRun": True}}

    def _reference(self) -> dict[str, Any]:
        reference = {"projectId": self.project}
        if self.location:
            reference["location"] = self.location
        return reference


def user_agent(domain: str) -> str:
    """The form that Flyte's own connector sends, so that usage reports by user agent go on working; the version is this
    one's.
    """
    return f"Flytekit/{_version()} (GPN:Union;{re.sub(r'[^A-Za-z0-9_.-]', '', domain)[:100]})"


@cache  # it is read from a file: 1 ms, for every poll
def _version() -> str:
    try:
        return version("connectors-bigquery")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"


def _project(custom: Mapping[str, Any]) -> str:
    project = _optional_text(custom, "ProjectID")
    if not project:
        raise InvalidRequest("the task's custom has no ProjectID: the project that runs and pays for the query")
    return project


def _optional_text(custom: Mapping[str, Any], key: str) -> str | None:
    value = custom.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidRequest(f"the task's custom.{key} must be a string")
    return value


def _secret_name(custom: Mapping[str, Any]) -> str:
    names = custom.get("secrets")
    name = names.get(SECRET) if isinstance(names, Mapping) else None
    return name if isinstance(name, str) else ""


def _domain(ctx: Context) -> str:
    owner = ctx.metadata.task_execution_id
    return owner.domain if owner is not None else ""


def _configuration(task: TaskTemplate, statement: str, ctx: Context, domain: str) -> dict[str, Any]:
    given = {key: value for key, value in task.custom.items() if value is not None and key not in _OWN_KEYS}
    if given.get("dryRun"):
        raise InvalidRequest("dryRun makes no job that could be followed: take it out of the task")
    configuration = {key: given.pop(key) for key in _JOB_KEYS & given.keys()}
    query = {
        "useLegacySql": False,
        **given,
        "query": statement,
    }  # false, as Google's own clients have it: REST's default is true
    query.update(_with_inputs(query, task, statement, ctx))
    configuration["query"] = query
    configuration["labels"] = _labels(configuration.get("labels", {}), ctx, domain)
    return configuration


def _with_inputs(query: Mapping[str, Any], task: TaskTemplate, statement: str, ctx: Context) -> dict[str, Any]:
    """The parameters of the job configuration with the inputs added; an input wins over a parameter of its name."""
    parameters = query_parameters(ctx.inputs, task.interface.inputs, statement)
    if not parameters:
        return {}
    given = query.get("queryParameters", [])
    if not isinstance(given, list) or not all(isinstance(parameter, Mapping) for parameter in given):
        raise InvalidRequest("the task's custom.queryParameters must be a list of objects")
    if str(query.get("parameterMode")).upper() == "POSITIONAL" or not all(parameter.get("name") for parameter in given):
        raise InvalidRequest(
            "inputs are named parameters, the job configuration has positional ones: BigQuery takes one kind"
        )
    names = {parameter["name"].lower() for parameter in parameters}
    kept = [parameter for parameter in given if str(parameter["name"]).lower() not in names]
    return {"parameterMode": "NAMED", "queryParameters": kept + parameters}


# --- labels: https://cloud.google.com/bigquery/docs/labels-intro#requirements


def _labels(given: Any, ctx: Context, domain: str) -> dict[str, str]:
    """The user's labels as they are, the key, and the owner as far as there is room and no label of the user's has the
    name.
    """
    if not isinstance(given, Mapping):
        raise InvalidRequest("the task's custom.labels must map names to values")
    labels = {**given, KEY_LABEL: ctx.idempotency_key}
    if len(labels) > _MOST_LABELS:
        raise InvalidRequest(
            f"a job has at most {_MOST_LABELS} labels, one of them the connector's: {len(given)} are too many"
        )
    for name, value in _owner(ctx, domain).items():
        if value and len(labels) < _MOST_LABELS:
            labels.setdefault(name, _label_value(value))
    return labels


def _owner(ctx: Context, domain: str) -> dict[str, str]:
    owner = ctx.metadata.task_execution_id
    if owner is None:
        return {"flyte-domain": domain}
    return {
        "flyte-execution": owner.execution,
        "flyte-project": owner.project,
        "flyte-domain": owner.domain or domain,
        "flyte-node": owner.node_id,
        "flyte-attempt": str(owner.retry_attempt),
    }


def _label_value(text: str) -> str:
    """``text`` in the characters that every label may have."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:_LONGEST_LABEL]
