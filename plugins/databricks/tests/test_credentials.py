"""Whose credentials a call uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from connectors import (
    FailedPrecondition,
    InvalidRequest,
    PermissionDenied,
    Phase,
    Secrets,
    TaskExecutionMetadata,
)
from connectors.secrets import FileSecrets, RequestSecrets, SecretRules, redact
from connectors.testing.contexts import NewContext
from connectors_databricks import DatabricksConnector, DatabricksRun
from plugins.databricks.tests.conftest import Task
from plugins.databricks.tests.fake_databricks import CLIENT_ID, CLIENT_SECRET, FakeDatabricks
from plugins.databricks.tests.secret_sources import Namespaces, bearer, in_and_out_of_a_project

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def tokens(databricks: FakeDatabricks) -> None:
    databricks.valid |= {"of-the-namespace", "of-the-request", "of-the-server", "of-the-team", "of-the-meta"}


# --- tokens


async def test_flyte_1s_token_is_the_namespaces_and_the_meta_says_where(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    secrets = {"sales-production/databricks-token/token": "of-the-namespace"}
    there = Namespaces(secrets, workflows="sales-production")
    job = await connector.create(task(), new_context(secrets={}, sources=[there]))
    assert bearer(databricks) == "of-the-namespace"
    assert job == DatabricksRun(databricks.place, job.run_id, namespace="sales-production")

    await connector.get(job, new_context(secrets={}, sources=[Namespaces(secrets)], metadata=TaskExecutionMetadata()))
    assert bearer(databricks, "get") == "of-the-namespace"


async def test_a_token_that_the_task_names_wins_and_is_found_again(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    secrets = {"ns/databricks-token/token": "of-the-namespace", "ns/team-token/token": "of-the-team"}
    ctx = new_context(secrets={}, sources=[Namespaces(secrets, workflows="ns")])
    job = await connector.create(task(databricksTokenSecret="team-token"), ctx)
    assert bearer(databricks) == "of-the-team"
    assert (job.auth_type, job.oauth_secret_name, job.namespace) == ("secret", "team-token", "ns")

    await connector.delete(job, new_context(secrets={}, sources=[Namespaces(secrets)]))
    assert bearer(databricks, "cancel") == "of-the-team"


async def test_without_a_namespaces_token_the_servers_is_used_and_the_meta_has_nothing_to_say(
    connector: DatabricksConnector,
    databricks: FakeDatabricks,
    task: Task,
    new_context: NewContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLYTE_DATABRICKS_ACCESS_TOKEN", "of-the-server")
    job = await connector.create(task(databricksTokenSecret="not-there"), new_context(secrets={}))
    assert bearer(databricks) == "of-the-server"
    assert job.encode() == f'{{"databricks_instance":"{databricks.place}","run_id":"{job.run_id}"}}'.encode()


async def test_databricks_own_variable_may_hold_the_token(
    connector: DatabricksConnector,
    databricks: FakeDatabricks,
    task: Task,
    new_context: NewContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "of-the-server")
    for protocol in ("flyte1", "flyte2"):
        await connector.create(task(), new_context(secrets={}, protocol=protocol))
        assert bearer(databricks) == "of-the-server"


async def test_in_flyte_2_the_requests_token_wins_and_in_flyte_1_the_namespaces(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    there = Namespaces({"ns/databricks-token/token": "of-the-namespace"}, workflows="ns")
    brought = {"databricks_token": "of-the-request"}
    job = await connector.create(task(), new_context(secrets=brought, sources=[there], protocol="flyte2"))
    assert bearer(databricks) == "of-the-request"
    assert set(vars(DatabricksRun.decode(job.encode())).values()) == {databricks.place, job.run_id, None}
    await connector.create(task(), new_context(secrets=brought, sources=[there], protocol="flyte1"))
    assert bearer(databricks) == "of-the-namespace"


async def test_flyte_2s_token_of_the_namespace_is_found_again(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    secrets = {"ns/databricks_token/token": "of-the-namespace"}
    there = Namespaces(secrets, workflows="ns")
    job = await connector.create(task(), new_context(secrets={}, sources=[there], protocol="flyte2"))
    polled = DatabricksRun.decode(job.encode())
    await connector.get(polled, new_context(secrets={}, sources=[Namespaces(secrets)], protocol="flyte2"))
    assert bearer(databricks, "get") == "of-the-namespace"


@pytest.mark.parametrize(
    ("own", "custom", "protocol"),
    [
        ("databricks-token", {}, "flyte1"),
        ("databricks_token", {}, "flyte2"),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", {}, "flyte1"),
        ("team-token", {"databricksTokenSecret": "team-token"}, "flyte1"),
        ("team-token", {"secrets": {"databricks_token": "team-token"}}, "flyte2"),
    ],
)
async def test_a_projects_token_is_found_by_calls_that_do_not_name_the_project(
    connector: DatabricksConnector,
    databricks: FakeDatabricks,
    task: Task,
    new_context: NewContext,
    tmp_path: Path,
    *,
    own: str,
    custom: dict[str, Any],
    protocol: Literal["flyte1", "flyte2"],
) -> None:
    (tmp_path / "sales-databricks").write_text("of-the-team")
    (tmp_path / own).write_text("of-the-server")
    create, get = in_and_out_of_a_project(new_context, tmp_path, protocol, {own: "sales-databricks"})
    polled = DatabricksRun.decode((await connector.create(task(**custom), create)).encode())
    assert bearer(databricks) == "of-the-team"
    await connector.get(polled, get)
    assert bearer(databricks, "get") == "of-the-team"


async def test_what_a_task_of_flyte_2_calls_its_token_is_found_by_every_call(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, tmp_path: Path
) -> None:
    (tmp_path / "team-token").write_text("of-the-team")
    ctx = new_context(secrets={}, sources=[FileSecrets(tmp_path)], protocol="flyte2")
    job = await connector.create(task(secrets={"databricks_token": "team-token"}), ctx)
    assert (job.auth_type, job.oauth_secret_name) == ("secret", "team-token")
    await connector.get(DatabricksRun.decode(job.encode()), ctx)
    assert bearer(databricks, "get") == "of-the-team"


@pytest.mark.parametrize("name", [None, "NOT_ON_THE_LIST", "no/name/of/a/secret", "databricks-oauth"])
async def test_the_token_that_flyte_2_sends_is_taken_whatever_the_task_calls_it(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, name: str | None
) -> None:
    ctx = new_context(protocol="flyte2")
    brought = RequestSecrets({"databricks_token": "of-the-request"})
    ctx.secrets = Secrets([brought], rules=SecretRules(DatabricksConnector.secret_names))
    job = await connector.create(task(secrets={"databricks_token": name}), ctx)
    assert bearer(databricks) == "of-the-request"
    assert job == DatabricksRun(databricks.place, job.run_id)


async def test_where_there_is_no_token_the_error_names_the_secrets(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    with pytest.raises(FailedPrecondition, match="'databricks-token', 'databricks_token', 'FLYTE_DATABRICKS"):
        await connector.create(task(), new_context(secrets={}))
    assert databricks.calls == []


# --- metas of the reference service


def reference_meta(databricks: FakeDatabricks, run_id: str, **more: Any) -> DatabricksRun:
    values = {"auth_type": "pat", "oauth_secret_name": "databricks-oauth", "namespace": "sales-production", **more}
    return DatabricksRun(databricks.place, run_id, "of-the-meta", **values)


@pytest.fixture
async def run_id(connector: DatabricksConnector, task: Task, new_context: NewContext) -> str:
    return (await connector.create(task(), new_context())).run_id


async def test_a_token_in_a_meta_is_the_last_resort(
    connector: DatabricksConnector, databricks: FakeDatabricks, new_context: NewContext, run_id: str
) -> None:
    job = reference_meta(databricks, run_id)
    assert (await connector.get(job, new_context(secrets={}))).phase is Phase.SUCCEEDED
    assert bearer(databricks, "get") == "of-the-meta"
    await connector.get(job, new_context(secrets={"databricks_token": "of-the-request"}))
    assert bearer(databricks, "get") == "of-the-request"
    there = Namespaces({"sales-production/databricks-token/token": "of-the-namespace"})
    await connector.get(job, new_context(secrets={}, sources=[there]))
    assert bearer(databricks, "get") == "of-the-namespace"


async def test_a_token_in_a_meta_is_never_written_or_shown(databricks: FakeDatabricks) -> None:
    job = reference_meta(databricks, "1")
    assert "of-the-meta" not in repr(job)
    assert b"of-the-meta" not in job.encode()


async def test_a_token_in_a_meta_that_was_used_is_hidden_like_any_secret(
    connector: DatabricksConnector, databricks: FakeDatabricks, new_context: NewContext, run_id: str
) -> None:
    databricks.valid.add("of-a-meta-that-was-used")
    job = DatabricksRun(databricks.place, run_id, "of-a-meta-that-was-used")
    await connector.get(job, new_context(secrets={}))
    assert redact("a gateway says of-a-meta-that-was-used") == "a gateway says [secret]"


async def test_a_meta_of_the_references_oauth_is_read(
    connector: DatabricksConnector, databricks: FakeDatabricks, new_context: NewContext, run_id: str
) -> None:
    job = reference_meta(databricks, run_id, auth_type="oauth_m2m", client_id=CLIENT_ID)
    there = Namespaces({"sales-production/databricks-oauth/client_secret": CLIENT_SECRET})
    assert (await connector.get(job, new_context(secrets={}, sources=[there]))).phase is Phase.SUCCEEDED
    assert bearer(databricks, "get") == "granted-access-token-0001"


async def test_a_reference_that_leads_to_another_secret_is_refused(
    connector: DatabricksConnector, databricks: FakeDatabricks, new_context: NewContext, run_id: str
) -> None:
    databricks.calls.clear()
    job = DatabricksRun(databricks.place, run_id, namespace="kubernetes:kube-system/admin/token")
    with pytest.raises(PermissionDenied):
        await connector.get(job, new_context(secrets={}, sources=[Namespaces({})]))
    assert databricks.calls == []


# --- what a task may not choose


@pytest.mark.parametrize(
    ("custom", "reason"),
    [
        ({"databricksAuthType": "azure-cli"}, "expected one of pat, oauth_m2m, oidc_federation"),
        ({"databricksAuthType": 3}, "must be a string"),
        ({"databricksOidcTokenFile": "/etc/shadow"}, "not the file that the operator set"),
    ],
)
async def test_a_way_to_sign_in_that_is_not_the_tasks_to_choose_is_refused(
    connector: DatabricksConnector, task: Task, new_context: NewContext, custom: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        await connector.create(task(**custom), new_context())
