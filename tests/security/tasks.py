"""A task for every connector that the project has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors import Container, Interface, LiteralType, Sql, TaskTemplate

__all__ = ["HEADERS", "Played", "tasks"]

HEADERS = {"Authorization": "Bearer {secrets.hook-token}"}
"""Of a webhook: its secret, by name."""


@dataclass(frozen=True)
class Played:
    """A task, and how it is called here."""

    name: str
    template: TaskTemplate
    inputs: Mapping[str, Any] = field(default_factory=dict)
    is_sync: bool = False


def tasks(hook: str) -> list[Played]:
    """:param hook: the URL of the service that webhooks call."""
    warehouse = {
        "account": "example-main",
        "user": "loader",
        "database": "sales",
        "schema": "PUBLIC",
        "warehouse": "small",
    }
    return [
        Played(
            "bigquery",
            TaskTemplate(
                "bigquery_query_job_task",
                custom={"ProjectID": "example-project", "Location": None},
                sql=Sql("SELECT 1", "ANSI"),
            ),
        ),
        Played("snowflake", TaskTemplate("snowflake", custom=warehouse, config=warehouse, sql=Sql("SELECT 1", "ANSI"))),
        Played(
            "databricks",
            TaskTemplate(
                "databricks",
                custom={"databricksConf": {"existing_cluster_id": "0101-120000-abc"}, "sparkConf": {}},
                container=Container(image="registry.example/spark:1", args=("pyflyte-execute",)),
            ),
        ),
        Played(
            "batch",
            TaskTemplate("openai-batch", custom={"openai_organization": "org-a", "config": {}}),
            {"input_file_id": "file-1"},
        ),
        Played(
            "chat",
            TaskTemplate("chatgpt", custom={"openai_organization": "", "chatgpt_config": {"model": "gpt-6"}}),
            {"message": "Say hello."},
            is_sync=True,
        ),
        Played(
            "embeddings",
            TaskTemplate("openai-embeddings", custom={"config": {"model": "text-embedding-3-small"}}),
            {"texts": ["one"]},
            is_sync=True,
        ),
        Played("webhook", _webhook(f"{hook}/hook"), is_sync=True),
        Played("webhook by proxy", _webhook("https://hooks.invalid/hook"), is_sync=True),
    ]


def _webhook(url: str) -> TaskTemplate:
    custom = {"url": url, "headers": HEADERS, "show_data": True}
    return TaskTemplate("webhook", custom=custom, interface=Interface(outputs={"info": LiteralType("struct")}))
