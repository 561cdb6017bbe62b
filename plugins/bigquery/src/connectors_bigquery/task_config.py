"""A task's ``custom``, as a workflow author writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BigQueryConfig"]


@dataclass(frozen=True, kw_only=True)
class BigQueryConfig:
    """Where a query runs, and how. :meth:`to_custom` has the keys that the Flyte SDKs' own classes send: a task that
    was written for one runs with the other.

    ``TaskTemplate(type="bigquery_query_job_task", custom=BigQueryConfig(…).to_custom(), sql=Sql("SELECT 1"))``
    """

    project: str
    """The project that runs and pays for the job."""

    location: str = ""
    """Where it runs; "": BigQuery takes it from the datasets that the statement names."""

    domain: str = ""
    """The Flyte domain, for the user agent and a label; "": the execution's."""

    query_job_config: Mapping[str, Any] = field(default_factory=dict)
    """What the REST API has in ``configuration.query``, under its names: ``destinationTable``, ``priority``, …
    (https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#jobconfigurationquery); also ``jobTimeoutMs``,
    ``maxSlots`` and ``reservation``."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Up to 63: of the 64 that a job has, the connector takes one."""

    google_application_credentials: str = ""
    """The name of the secret with a service account's key; "": its own name."""

    def to_custom(self) -> dict[str, Any]:
        """The task's ``custom``. It always has a ``Location``, which Flyte's own connector must find."""
        custom: dict[str, Any] = {**self.query_job_config, "ProjectID": self.project, "Location": self.location or None}
        if self.domain:
            custom["Domain"] = self.domain
        if self.labels:
            custom["labels"] = dict(self.labels)
        if self.google_application_credentials:
            custom["secrets"] = {"google_application_credentials": self.google_application_credentials}
        return custom
