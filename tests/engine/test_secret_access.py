"""Which secrets a connector is given in a call: by what it declares, the operator's word, and whose call it is."""

from __future__ import annotations

from typing import Literal

import pytest

from connectors import AsyncConnectorBase, PermissionDenied, SyncConnectorBase, TaskCategory, TaskExecutionMetadata
from connectors._engine.requests import Caller
from connectors._engine.secret_access import REQUEST, PluginSecrets, SecretAccess
from connectors._registry import Registered
from connectors.secrets import EnvironmentSecrets, SecretSource
from tests.engine.harness import METADATA, Acme, Echo, Job

pytestmark = pytest.mark.anyio


def registered(connector: AsyncConnectorBase[Job] | SyncConnectorBase, plugin: str) -> Registered:
    kind: Literal["async", "sync"] = "sync" if isinstance(connector, SyncConnectorBase) else "async"
    return Registered(connector, TaskCategory(connector.task_type), plugin, "tests", "1", kind)


class Declares(Acme):
    secret_names = ("acme-token",)


ACME, ECHO = registered(Declares(), "acme"), registered(Echo(), "echo")


async def found(
    access: SecretAccess,
    name: str,
    *,
    of: Registered = ACME,
    caller: Caller | None = None,
    metadata: TaskExecutionMetadata | None = METADATA,
    reference: str = "",
) -> str | None:
    return await access.of_call(of, caller or Caller("flyte2"), metadata).find(name, reference=reference)


async def test_a_connector_reads_what_it_declares_and_what_the_operator_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME-TOKEN", "fake-own")
    monkeypatch.setenv("TEAM_TOKEN", "fake-team")
    access = SecretAccess([ACME, ECHO], plugins={"acme": PluginSecrets(names=("team_*",))})
    assert await found(access, "acme-token") == "fake-own"
    assert await found(access, "team_token") == "fake-team"
    with pytest.raises(PermissionDenied, match="'PATH'"):
        await found(access, "PATH")


async def test_one_that_declares_nothing_reads_no_variable_that_is_not_marked_as_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ECHO_TOKEN", "fake-bare")
    access = SecretAccess([ACME, ECHO])
    assert await found(access, "PATH", of=ECHO) is None
    assert await found(access, "echo_token", of=ECHO) is None
    monkeypatch.setenv("_FSEC_ECHO_TOKEN", "fake-marked")
    assert await found(access, "echo_token", of=ECHO) == "fake-marked"


async def test_one_that_declares_nothing_reads_no_secret_of_another_plugin() -> None:
    access = SecretAccess([ACME, ECHO])
    with pytest.raises(PermissionDenied, match="another plugin's"):
        await found(access, "acme-token", of=ECHO)


async def test_one_that_declares_nothing_reads_what_its_own_plugins_others_declare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_FSEC_ACME-TOKEN", "fake-own")
    echo = registered(Echo(), "acme")
    assert await found(SecretAccess([ACME, echo]), "acme-token", of=echo) == "fake-own"


async def test_the_operators_list_is_all_that_one_which_declares_nothing_may_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ECHO_TOKEN", "fake-bare")
    access = SecretAccess([ACME, ECHO], plugins={"echo": PluginSecrets(names=("echo_token",))})
    assert await found(access, "echo_token", of=ECHO) == "fake-bare"
    with pytest.raises(PermissionDenied):
        await found(access, "other", of=ECHO)


@pytest.mark.parametrize("request_first", [True, False])
async def test_what_a_request_brings_is_looked_at_in_its_turn(
    monkeypatch: pytest.MonkeyPatch, *, request_first: bool
) -> None:
    monkeypatch.setenv("acme-token", "fake-environment")
    sources: list[SecretSource] = [REQUEST, EnvironmentSecrets()] if request_first else [EnvironmentSecrets(), REQUEST]
    caller = Caller("flyte2", secrets={"acme-token": "fake-request"})
    wanted = "fake-request" if request_first else "fake-environment"
    assert await found(SecretAccess([ACME], sources), "acme-token", caller=caller) == wanted


async def test_a_request_is_not_looked_at_where_the_order_leaves_it_out() -> None:
    caller = Caller("flyte2", secrets={"acme-token": "fake-request"})
    assert await found(SecretAccess([ACME], [EnvironmentSecrets()]), "acme-token", caller=caller) is None


async def test_a_projects_own_secret_is_found_by_its_reference_where_a_call_names_no_project(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("acme-token", "fake-shared")
    monkeypatch.setenv("_FSEC_PROJ_TOKEN", "fake-project")
    access = SecretAccess(
        [ACME], plugins={"acme": PluginSecrets(by_project={"proj/dev": {"acme-token": "proj_token"}})}
    )
    created = await access.of_call(ACME, Caller("flyte1"), METADATA).look_up("acme-token")
    assert created.value == "fake-project"
    assert await found(access, "acme-token", metadata=None) == "fake-shared"
    assert await found(access, "acme-token", metadata=None, reference=created.reference) == "fake-project"
