"""What an operator may set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from connectors_databricks._workspaces import Workspaces

__all__ = ["DEFAULT_RETRYABLE", "DatabricksSettings"]

DEFAULT_RETRYABLE = (
    "INTERNAL_ERROR",
    "MAXIMUM_CONCURRENT_RUNS_REACHED",
    "CLOUD_FAILURE",
    "CLUSTER_REQUEST_LIMIT_EXCEEDED",
    "MAX_CONCURRENT_RUNS_EXCEEDED",
    "MAX_JOB_QUEUE_SIZE_EXCEEDED",
    "WORKSPACE_RUN_LIMIT_EXCEEDED",
)
"""Ends of a run that are no fault of the task's: the platform's, the cloud's below it, a limit that was reached."""


@dataclass(frozen=True)
class DatabricksSettings:
    """The plugin's settings: ``CONNECTORS_DATABRICKS__<FIELD>``, or ``[plugins.databricks]``.

    :raises ValueError: a value is out of its range.
    """

    instances: tuple[str, ...] = ()
    """The workspaces that credentials may be sent to, each by its host (``adb-1234.5.azuredatabricks.net``). The first
    is the one of tasks that name none. Where there is none: ``FLYTE_DATABRICKS_INSTANCE``, else ``DATABRICKS_HOST``, in
    the environment names the only one."""

    api_version: Literal["2.1", "2.2"] = "2.1"
    """Of the Jobs API."""

    auth_type: str = ""
    """How the deployment itself signs in: ``pat``, ``oauth-m2m``, ``azure-client-secret``, ``azure-msi``,
    ``google-credentials`` or any other that the Databricks SDK has. "": a token where there is one, else whatever the
    SDK finds. ``FLYTE_DATABRICKS_AUTH_TYPE`` in the environment is read where this is empty."""

    client_id: str = ""
    """The service principal of ``oauth-m2m`` and of ``file-oidc``, where no secret names it."""

    oidc_token_file: str = ""
    """The file with the identity token that ``file-oidc`` exchanges; it is read anew each time.
    ``FLYTE_DATABRICKS_OIDC_TOKEN_FILE`` in the environment is read where this is empty."""

    service_credential_provider: str = ""
    """The Databricks service credential with which serverless tasks reach their storage, where a task names none.
    ``FLYTE_DATABRICKS_SERVICE_CREDENTIAL_PROVIDER`` in the environment is read where this is empty."""

    retryable: tuple[str, ...] = DEFAULT_RETRYABLE
    """Result states, life cycle states and termination codes of runs that failed and may be run again."""

    spark: bool = False
    """Whether the task type ``spark`` is served as well: where Spark tasks run on Databricks, not on Kubernetes."""

    request_timeout: float = 20.0
    """Seconds for one HTTP exchange, above 0. A call's own deadline, where it is nearer, wins."""

    def __post_init__(self) -> None:
        Workspaces(self.instances)
        if not self.request_timeout > 0:
            raise ValueError("request_timeout: must be above 0 seconds")
        if "SUCCESS" in self.retryable:
            raise ValueError("retryable: SUCCESS is no failure")

    def or_environment(self, field: str) -> str:
        """A setting of text, or what the variable that the reference service reads for it says."""
        value: str = getattr(self, field)
        return value or os.environ.get(f"FLYTE_DATABRICKS_{field.upper()}", "").strip()
