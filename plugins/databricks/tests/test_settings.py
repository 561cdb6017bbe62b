"""What an operator may set, and which workspaces there are."""

from __future__ import annotations

from typing import Any

import pytest

from connectors import InvalidRequest
from connectors_databricks import DatabricksConfig, DatabricksConnector, DatabricksSettings
from connectors_databricks._workspaces import Workspace, Workspaces

HOST = "example.cloud.databricks.com"


def test_the_defaults_allow_no_workspace() -> None:
    assert DatabricksSettings().instances == ()
    with pytest.raises(InvalidRequest, match="no Databricks instance is configured"):
        Workspaces.of(()).find(None)
    with pytest.raises(InvalidRequest, match="not one that the operator allows"):
        Workspaces.of(()).find(HOST)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"instances": ("http://example.com",)}, "https"),
        ({"instances": ("ftp://example.com",)}, "not a host"),
        ({"instances": ("example.com/path",)}, "not a host"),
        ({"instances": ("user@example.com",)}, "not a host"),
        ({"instances": ("",)}, "not a host"),
        ({"request_timeout": 0.0}, "above 0"),
        ({"retryable": ("SUCCESS",)}, "no failure"),
    ],
)
def test_a_value_out_of_range_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DatabricksSettings(**values)


@pytest.mark.parametrize("variable", ["FLYTE_DATABRICKS_INSTANCE", "DATABRICKS_HOST"])
def test_the_environment_names_the_only_workspace(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, f"https://{HOST}/?o=1234")
    workspaces = Workspaces.of(())
    assert workspaces.find("") == workspaces.find(HOST) == Workspace(HOST, f"https://{HOST}")


def test_a_variable_that_is_no_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "http://example.com")
    with pytest.raises(ValueError, match="DATABRICKS_HOST: must be https"):
        DatabricksConnector()


def test_the_setting_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_DATABRICKS_INSTANCE", HOST)
    workspaces = Workspaces.of(("one.example", "two.example"))
    assert workspaces.find(None).place == "one.example"
    with pytest.raises(InvalidRequest):
        workspaces.find(HOST)


@pytest.mark.parametrize("named", [HOST, f"https://{HOST}", f"https://{HOST}/", HOST.upper(), f" {HOST}:443"])
def test_a_workspace_may_be_named_in_any_form(named: str) -> None:
    assert Workspaces([HOST]).find(named) == Workspace(HOST, f"https://{HOST}")


@pytest.mark.parametrize(
    "named",
    ["evil.example", f"{HOST}.evil.example", f"{HOST}@evil.example", f"evil.example/{HOST}", f"{HOST}:444", f"{HOST}?"],
)
def test_any_other_host_is_refused(named: str) -> None:
    with pytest.raises(InvalidRequest, match="not one that the operator allows"):
        Workspaces([HOST]).find(named)


def test_a_meta_may_not_ask_for_another_scheme() -> None:
    assert Workspaces([HOST]).find(HOST).url == f"https://{HOST}"
    with pytest.raises(InvalidRequest):
        Workspaces([HOST]).find(f"http://{HOST}")


def test_a_setting_falls_back_to_the_references_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_DATABRICKS_SERVICE_CREDENTIAL_PROVIDER", "storage")
    assert DatabricksSettings().or_environment("service_credential_provider") == "storage"
    own = DatabricksSettings(service_credential_provider="own")
    assert own.or_environment("service_credential_provider") == "own"


def test_a_tasks_config_has_the_keys_that_the_sdks_send() -> None:
    config = DatabricksConfig(
        databricks_conf={"existing_cluster_id": "c"},
        databricks_instance=HOST,
        spark_conf={"spark.x": "1"},
        notebook_path="/a",
        notebook_base_parameters={"day": "1"},
        databricks_token_secret="team-token",
        databricks_token="token-of-flyte-2",
    )
    assert config.to_custom() == {
        "databricksConf": {"existing_cluster_id": "c"},
        "databricksInstance": HOST,
        "sparkConf": {"spark.x": "1"},
        "notebookPath": "/a",
        "notebookBaseParameters": {"day": "1"},
        "databricksTokenSecret": "team-token",
        "secrets": {"databricks_token": "token-of-flyte-2"},
    }
