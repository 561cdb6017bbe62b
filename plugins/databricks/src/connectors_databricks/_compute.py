"""Where a run's tasks run: what a new cluster and a serverless environment get beside what the task says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors import InvalidRequest

__all__ = ["tag_clusters", "with_cluster", "with_environment"]

_MOST_TAGS = 45  # https://docs.databricks.com/api/workspace/clusters/create: custom_tags
_DEFAULT_KEY = "default"
_CLIENT = "1"  # the version of the serverless environment that Flyte's entrypoints are known to run in


def with_cluster(
    cluster: Any, *, image: str, spark_conf: Mapping[str, Any], variables: Mapping[str, str]
) -> dict[str, Any]:
    """A ``new_cluster`` with the task's image, Spark configuration and environment variables where it has none of its
    own; a variable of the task's wins over one of the cluster's.

    :raises InvalidRequest: it is no object, or its variables are none.
    """
    if not isinstance(cluster, Mapping):
        raise InvalidRequest("the task's databricksConf.new_cluster must be an object")
    filled = dict(cluster)
    if not filled.get("docker_image") and image:
        filled["docker_image"] = {"url": image}
    if not filled.get("spark_conf"):
        filled["spark_conf"] = dict(spark_conf)
    own = _object(filled.get("spark_env_vars"), "new_cluster.spark_env_vars")
    filled["spark_env_vars"] = {**own, **variables}
    return filled


def with_environment(key: Any, environments: Any, *, variables: Mapping[str, str]) -> tuple[str, list[dict[str, Any]]]:
    """The key of the serverless environment of a task, and the run's environments, with the task's variables in it. One
    that is not there is added: Databricks knows none but those that come with the run.

    :raises InvalidRequest: ``environments`` is no list of objects.
    """
    given = [] if environments is None else environments
    if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
        raise InvalidRequest("the task's databricksConf.environments must be a list of objects")
    chosen = str(key or _DEFAULT_KEY)
    found = [dict(item) for item in given]
    if not any(item.get("environment_key") == chosen for item in found):
        found.append({"environment_key": chosen, "spec": {"client": _CLIENT}})
    for item in found:
        if item.get("environment_key") == chosen:
            spec = _object(item.get("spec"), "environments.spec")
            own = _object(spec.get("environment_vars"), "environments.spec.environment_vars")
            item["spec"] = {**spec, "environment_vars": {**own, **variables}}
    return chosen, found


def tag_clusters(run: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Write the tags on every cluster that the run makes, as far as there is room, and no tag of the task's has the
    name.

    :raises InvalidRequest: the clusters, or the tags of one, are of another kind than expected.
    """
    shared = run.get("job_clusters") or []
    if not isinstance(shared, list):
        raise InvalidRequest("the task's databricksConf.job_clusters must be a list of objects")
    holders = [*run["tasks"], *shared]
    for holder in holders:
        cluster = holder.get("new_cluster") if isinstance(holder, Mapping) else None
        if not isinstance(cluster, dict):
            continue
        merged = dict(_object(cluster.get("custom_tags"), "new_cluster.custom_tags"))
        for name, value in tags.items():
            if value and len(merged) < _MOST_TAGS:
                merged.setdefault(name, value)
        cluster["custom_tags"] = merged


def _object(value: Any, name: str) -> Mapping[str, Any]:
    """An object of the conf's; empty where it is not there."""
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"the task's databricksConf.{name} must map names to values")
    return value
