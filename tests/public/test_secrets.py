"""Where secrets are found, in which order, and that they are hidden afterwards."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from connectors import FailedPrecondition, InvalidRequest, PermissionDenied, Unavailable
from connectors.secrets import (
    Asked,
    EnvironmentSecrets,
    FileSecrets,
    RequestSecrets,
    Secret,
    SecretRules,
    Secrets,
    SecretScope,
    SecretSource,
    redact,
)

pytestmark = pytest.mark.anyio


async def test_the_first_source_that_has_it_wins() -> None:
    secrets = Secrets([RequestSecrets({"a": "fake-first"}), RequestSecrets({"a": "fake-second", "b": "fake-third"})])
    assert await secrets.get("a") == "fake-first"
    assert await secrets.get("b") == "fake-third"


async def test_a_missing_secret_is_named_and_where_it_was_looked_for() -> None:
    sources: list[SecretSource] = [RequestSecrets({}), EnvironmentSecrets(), FileSecrets(Path("/nowhere"))]
    looked_in = r"'token'.*the request, the environment \(_FSEC_TOKEN, TOKEN, token\), files \(/nowhere/token\)"
    with pytest.raises(FailedPrecondition, match=looked_in):
        await Secrets(sources).get("token")
    assert await Secrets([]).find("token") is None


@pytest.mark.parametrize("name", ["", "../etc/passwd", "a/b", ".hidden", "a b", "x" * 300, "a\0b", "ä"])
async def test_a_name_that_could_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        await Secrets([RequestSecrets({name: "fake"})]).get(name)


@pytest.mark.parametrize("variable", ["_FSEC_TOKEN", "TOKEN", "token"])
async def test_the_environment_has_it_under_three_names(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "fake-value")
    assert await Secrets([EnvironmentSecrets()]).get("token") == "fake-value"


@pytest.mark.parametrize("variable", ["_FSEC_CRM_TOKEN_V1", "CRM_TOKEN_V1", "crm_token_v1"])
async def test_a_name_that_no_shell_can_export_is_found_with_underscores(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "fake-value")
    assert await Secrets([EnvironmentSecrets()]).get("crm-token.v1") == "fake-value"


async def test_the_spelling_with_underscores_comes_after_the_secrets_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_FSEC_CRM_TOKEN", "fake-folded")
    assert await Secrets([EnvironmentSecrets()]).get("crm-token") == "fake-folded"
    monkeypatch.setenv("crm-token", "fake-own")
    assert await Secrets([EnvironmentSecrets()]).get("crm-token") == "fake-own"


async def test_a_key_is_spelled_with_underscores_too_and_comes_before_the_name_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_FSEC_CRM_TOKEN", "fake-whole")
    assert await Secrets([EnvironmentSecrets()]).get("crm-token", key="key.json") == "fake-whole"
    monkeypatch.setenv("CRM_TOKEN_KEY_JSON", "fake-entry")
    assert await Secrets([EnvironmentSecrets()]).get("crm-token", key="key.json") == "fake-entry"


@pytest.mark.parametrize("names", [("crm-token",), ("crm-*",)])
@pytest.mark.parametrize("theirs", ["CRM_TOKEN", "crm_token", "crm.token"])
async def test_a_name_spelled_with_underscores_leads_to_no_secret_of_another_plugin(
    names: tuple[str, ...], theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("_FSEC_CRM_TOKEN", "CRM_TOKEN", "crm_token"):
        monkeypatch.setenv(variable, "fake-theirs")
    secrets = Secrets([EnvironmentSecrets()], rules=SecretRules(names, others=frozenset({theirs})))
    assert await secrets.find("crm-token") is None


async def test_a_name_with_a_key_leads_to_no_secret_of_another_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_API_TOKEN", "fake-theirs")
    rules = SecretRules(("crm-api",), others=frozenset({"crm_api_token"}))
    assert await Secrets([EnvironmentSecrets()], rules=rules).find("crm-api", key="token") is None


async def test_a_projects_secret_spelled_with_underscores_is_no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "fake-lab")
    table, scope = {"lab": {"token": "lab-token"}}, SecretScope(project="lab")
    ours = SecretRules(("token",), by_project=table)
    assert await Secrets([EnvironmentSecrets()], rules=ours, scope=scope).get("token") == "fake-lab"
    theirs = SecretRules(("token",), frozenset({"lab_token"}), by_project=table)
    assert await Secrets([EnvironmentSecrets()], rules=theirs, scope=scope).find("token") is None


async def test_two_plugins_that_declare_the_same_name_both_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_TOKEN", "fake-value")
    rules = SecretRules(("crm-token",), others=frozenset({"crm-token"}))
    assert await Secrets([EnvironmentSecrets()], rules=rules).get("crm-token") == "fake-value"


@pytest.mark.parametrize("rules", [SecretRules(("aws-*",)), SecretRules(bare_variables=False)])
async def test_a_name_that_a_task_may_have_chosen_is_spelled_with_underscores_behind_the_prefix_alone(
    rules: SecretRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_KEY", "fake-servers-own")
    secrets = Secrets([EnvironmentSecrets()], rules=rules)
    assert await secrets.find("aws-key") is None
    monkeypatch.setenv("_FSEC_AWS_KEY", "fake-value")
    assert await secrets.get("aws-key") == "fake-value"


async def test_an_empty_variable_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "")
    assert await Secrets([EnvironmentSecrets()]).find("token") is None


@pytest.mark.parametrize("variable", ["_FSEC_GROUP_TOKEN", "GROUP_TOKEN", "_FSEC_GROUP"])
async def test_a_variable_is_named_after_the_secret_and_its_key(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "fake-value")
    assert await Secrets([EnvironmentSecrets()]).get("group", key="token") == "fake-value"


async def test_a_file_is_read_again_after_a_second(tmp_path: Path) -> None:
    now = 0.0
    secrets = Secrets([FileSecrets(tmp_path, clock=lambda: now)])
    assert await secrets.find("token") is None
    (tmp_path / "token").write_text("fake-one\n")
    now = 1.0
    assert await secrets.find("token") == "fake-one"
    (tmp_path / "token").write_text("fake-two\n")
    assert await secrets.find("token") == "fake-one"
    now = 2.0
    assert await secrets.find("token") == "fake-two"


async def test_a_file_may_be_named_in_small_letters(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("fake-one\n")
    assert await Secrets([FileSecrets(tmp_path)]).get("TOKEN") == "fake-one"


async def test_the_first_folder_that_has_the_file_wins(tmp_path: Path) -> None:
    for folder in ("b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "token").write_text(f"fake-{folder}")
    secrets = Secrets([FileSecrets(tmp_path / "a", tmp_path / "b", tmp_path / "c")])
    assert await secrets.get("token") == "fake-b"


async def test_a_secret_with_keys_is_a_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "token").write_text("fake-one")
    secrets = Secrets([FileSecrets(tmp_path)])
    assert await secrets.get("group", key="token") == "fake-one"
    assert await secrets.find("group") is None


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (1024 * 1024 + 1)], ids=["no text", "too long"])
async def test_a_file_that_holds_no_secret_is_named_and_not_shown(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(FailedPrecondition, match="'token'"):
        await Secrets([FileSecrets(tmp_path)]).get("token")


async def test_a_file_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "stuck")  # opening it waits for a writer
    (tmp_path / "token").write_text("fake-one")
    secrets = Secrets([FileSecrets(tmp_path, patience=5)])
    stuck = asyncio.create_task(secrets.get("stuck"))
    try:
        done, _ = await asyncio.wait({stuck}, timeout=0.1)
        assert not done
        assert await secrets.get("token") == "fake-one"
    finally:
        stuck.cancel()
        let_go(tmp_path / "stuck")


async def test_a_file_that_is_not_read_in_time_is_unavailable(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    try:
        with pytest.raises(Unavailable, match=r"'token'.*0\.05 s"):
            await Secrets([FileSecrets(tmp_path, patience=0.05)]).get("token")
    finally:
        let_go(tmp_path / "token")


def let_go(fifo: Path) -> None:
    """Have its reader read nothing, and one that comes later find nothing."""
    writer = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    fifo.unlink()
    os.close(writer)


async def test_a_name_that_is_not_declared_is_refused_before_any_source_is_asked() -> None:
    asked: list[str] = []

    class Watched(RequestSecrets):
        async def find(self, asked_for: Asked) -> Secret | None:
            asked.append(asked_for.name)
            return await super().find(asked_for)

    secrets = Secrets([Watched({"theirs": "fake"})], rules=SecretRules(names=("ours", "team-*")))
    with pytest.raises(PermissionDenied, match="'theirs'"):
        await secrets.find("theirs")
    assert await secrets.find("team-a") is None
    assert asked == ["team-a"]


async def test_a_variable_that_nobody_declared_needs_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = Secrets([EnvironmentSecrets()], rules=SecretRules(bare_variables=False))
    assert await secrets.find("PATH") is None
    monkeypatch.setenv("_FSEC_TOKEN", "fake-value")
    assert await secrets.find("token") == "fake-value"


async def test_what_another_plugin_declared_is_refused() -> None:
    secrets = Secrets([RequestSecrets({"token": "fake"})], rules=SecretRules(others=frozenset({"token"})))
    with pytest.raises(PermissionDenied, match="'token' is another plugin's"):
        await secrets.get("token")


@pytest.mark.parametrize("name", ["crm_token", "CRM-TOKEN", "crm.token", "crm-token"])
async def test_what_another_plugin_declared_is_refused_however_it_is_spelled(name: str) -> None:
    secrets = Secrets([RequestSecrets({name: "fake"})], rules=SecretRules(others=frozenset({"crm-token"})))
    with pytest.raises(PermissionDenied, match="another plugin's"):
        await secrets.get(name)


BY_PROJECT = {
    "research": {"token": "research-token"},
    "research/production": {"token": "production-token"},
    "*/production": {"token": "other-token", "extra": "kept-extra"},
}


@pytest.mark.parametrize(
    ("project", "domain", "name", "found"),
    [
        ("research", "production", "token", "production-token"),
        ("research", "development", "token", "research-token"),
        ("sales", "production", "token", "other-token"),
        ("sales", "development", "token", "token"),
        ("research", "production", "extra", "kept-extra"),
        ("", "", "token", "token"),
    ],
)
async def test_the_most_specific_place_names_the_secret(
    project: str, domain: str, name: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("token", "research-token", "production-token", "other-token", "extra", "kept-extra"):
        monkeypatch.setenv(f"_FSEC_{each.upper()}", f"fake-{each}")
    rules, scope = SecretRules(by_project=BY_PROJECT), SecretScope(project=project, domain=domain)
    secret = await Secrets([EnvironmentSecrets()], rules=rules, scope=scope).look_up(name)
    assert secret.value == f"fake-{found}"
    # get and delete carry no project: the reference finds the same secret
    later = Secrets([EnvironmentSecrets()], rules=rules)
    assert await later.get(name, reference=secret.reference) == secret.value


async def test_what_the_caller_brings_goes_by_the_tasks_own_name() -> None:
    secrets = Secrets(
        [RequestSecrets({"token": "fake-own"})],
        rules=SecretRules(by_project=BY_PROJECT),
        scope=SecretScope(project="research"),
    )
    secret = await secrets.look_up("token")
    assert (secret.value, secret.reference) == ("fake-own", "")


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("project:elsewhere", FailedPrecondition),
        ("kubernetes:flyte/other/key", PermissionDenied),
        ("kubernetes:flyte/token/key", PermissionDenied),
        ("kubernetes:flyte/token/", FailedPrecondition),
        ("kubernetes:flyte", InvalidRequest),
        ("kubernetes:a/b/c/d", InvalidRequest),
        ("kubernetes://", InvalidRequest),
        ("fake", InvalidRequest),
    ],
)
async def test_a_reference_is_checked_when_it_comes_back(reference: str, kind: type[Exception]) -> None:
    secrets = Secrets([RequestSecrets({"token": "fake"})], rules=SecretRules(by_project=BY_PROJECT))
    with pytest.raises(kind):
        await secrets.get("token", reference=reference)


@pytest.mark.parametrize(
    "rules",
    [SecretRules(bare_variables=False), SecretRules(("crm-*",)), SecretRules(("crm-token",), frozenset({"crm_token"}))],
)
async def test_a_reference_reads_no_variable_that_the_name_does_not(
    rules: SecretRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_TOKEN", "fake-value")
    secrets = Secrets([EnvironmentSecrets()], rules=rules)
    assert await secrets.find("crm-token", reference="environment:flyte/crm-token/") is None


async def test_a_reference_reads_no_variable_that_is_not_marked_as_a_secret() -> None:
    secrets = Secrets([EnvironmentSecrets()], rules=SecretRules(bare_variables=False))
    assert await secrets.find("PATH", reference="environment:flyte/PATH/") is None


async def test_what_was_handed_out_is_hidden_from_then_on() -> None:
    assert redact("Bearer fake-hidden-value") == "Bearer fake-hidden-value"
    await Secrets([RequestSecrets({"t": "fake-hidden-value"})]).get("t")
    assert redact("Bearer fake-hidden-value!") == "Bearer [secret]!"


async def test_a_short_value_hides_no_ordinary_words() -> None:
    await Secrets([RequestSecrets({"t": "ab"})]).get("t")
    assert redact("about") == "about"


async def test_no_value_is_in_the_repr() -> None:
    secrets = Secrets([RequestSecrets({"t": "fake-hidden-value"})])
    await secrets.get("t")
    assert "fake" not in repr(secrets)


async def test_a_text_that_holds_a_value_of_this_call_leaks() -> None:
    secrets = Secrets([RequestSecrets({"long": "fake-0123456789-long", "short": "default"})])
    assert not secrets.leaks("fake-0123456789-long")
    await secrets.get("long")
    await secrets.get("short")
    assert secrets.leaks('{"auth":"fake-0123456789-long"}')
    assert not secrets.leaks('{"schema":"default"}')


async def test_a_source_that_is_closed_holds_no_thread(tmp_path: Path) -> None:
    others = set(threading.enumerate())  # those of sources that other tests left open, too
    source = FileSecrets(tmp_path)
    await Secrets([source]).find("token")
    started = set(threading.enumerate()) - others
    readers = [thread for thread in started if thread.name.startswith("connectors-secret-files")]
    assert readers
    await source.aclose()
    for thread in readers:
        thread.join(10)
    assert not any(thread.is_alive() for thread in readers)
