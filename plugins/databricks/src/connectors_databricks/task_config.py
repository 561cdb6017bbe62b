"""A task's ``custom``, as a workflow author writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DatabricksConfig"]


@dataclass(frozen=True, kw_only=True)
class DatabricksConfig:
    """What to run on Databricks, and where. The fields are those of the Flyte SDKs' own classes, and :meth:`to_custom`
    has the keys that those send: a task that was written for one runs with the other.
    """

    databricks_conf: Mapping[str, Any]
    """The body of ``runs/submit`` (https://docs.databricks.com/api/workspace/jobs/submit): compute by
    ``new_cluster``, ``existing_cluster_id``, ``environment_key`` or ``environments``, or whole ``tasks``."""

    databricks_instance: str = ""
    """The workspace's host; "": the operator's."""

    spark_conf: Mapping[str, str] = field(default_factory=dict)
    """For a new cluster that has no ``spark_conf`` of its own."""

    hadoop_conf: Mapping[str, str] = field(default_factory=dict)
    """Kept for the Spark plugin; Databricks does not get it."""

    notebook_path: str = ""
    """A notebook to run in place of the task's function: of the workspace, or of ``git_source``."""

    notebook_base_parameters: Mapping[str, str] = field(default_factory=dict)

    databricks_token_secret: str = ""
    """The name of the secret with the token; of Flyte 1."""

    databricks_token: str = ""
    """The same of Flyte 2, which sends the secret's value where it knows the name."""

    databricks_auth_type: str = ""
    """``pat``, ``oauth_m2m`` or ``oidc_federation``; "": the deployment's."""

    databricks_client_id: str = ""
    """The service principal of ``oauth_m2m`` and ``oidc_federation``."""

    databricks_oauth_secret: str = ""
    """The name of the secret with the keys ``client_id`` and ``client_secret``."""

    databricks_service_credential_provider: str = ""
    """The service credential with which a serverless task reaches its storage."""

    def to_custom(self) -> dict[str, Any]:
        """The task's ``custom``; what is empty is left out."""
        values: dict[str, Any] = {
            "sparkConf": dict(self.spark_conf),
            "hadoopConf": dict(self.hadoop_conf),
            "databricksConf": dict(self.databricks_conf),
            "databricksInstance": self.databricks_instance,
            "notebookPath": self.notebook_path,
            "notebookBaseParameters": dict(self.notebook_base_parameters),
            "databricksTokenSecret": self.databricks_token_secret,
            "databricksAuthType": self.databricks_auth_type,
            "databricksClientId": self.databricks_client_id,
            "databricksOauthSecret": self.databricks_oauth_secret,
            "databricksServiceCredentialProvider": self.databricks_service_credential_provider,
            "secrets": {"databricks_token": self.databricks_token} if self.databricks_token else {},
        }
        return {name: value for name, value in values.items() if value}
