"""Whose key or token a call uses, and which accounts may have it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from connectors import (
    FailedPrecondition,
    InvalidRequest,
    PermissionDenied,
    Phase,
    Secrets,
    TaskTemplate,
    Unauthenticated,
)
from connectors.secrets import Asked, Secret, SecretRules, SecretScope
from connectors.testing.contexts import NewContext
from connectors_snowflake import SnowflakeConnector, SnowflakeJob, SnowflakeSettings
from plugins.snowflake.tests.conftest import CONNECTION, KeyPairOf, attempt
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake, Fault

pytestmark = pytest.mark.anyio
Query = Callable[..., TaskTemplate]


@pytest.fixture
def of_the_server(monkeypatch: pytest.MonkeyPatch, key_pair: KeyPairOf) -> None:
    monkeypatch.setenv("_FSEC_SNOWFLAKE_PRIVATE_KEY", key_pair.plain)


@pytest.mark.usefixtures("of_the_server")
async def test_the_servers_own_key_is_taken_where_the_request_brings_none(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    await connector.create(query(flyte1=True), new_context(secrets={}))
    assert len(snowflake.statements) == 1


async def test_an_encrypted_key_is_opened_with_its_passphrase(
    connector: SnowflakeConnector,
    query: Query,
    new_context: NewContext,
    snowflake: FakeSnowflake,
    key_pair: KeyPairOf,
) -> None:
    given = {
        "snowflake_private_key": key_pair.encrypted,
        "snowflake_private_key_passphrase": key_pair.passphrase,
    }
    await connector.create(query(), new_context(secrets=given))
    assert len(snowflake.statements) == 1


async def test_a_token_of_another_key_is_refused_in_snowflakes_words(
    connector: SnowflakeConnector, query: Query, new_context: NewContext
) -> None:
    with pytest.raises(Unauthenticated, match=r"JWT token is invalid.*check the account, the user"):
        await connector.create(query(user="somebody"), new_context())


async def test_one_token_serves_every_call(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    jobs = await asyncio.gather(*(connector.create(query(), new_context()) for _ in range(10)))
    await asyncio.gather(*(connector.get(job, new_context()) for job in jobs))
    assert len({call.headers["Authorization"] for call in snowflake.calls}) == 1


async def test_a_token_that_is_not_taken_any_more_is_replaced_by_the_next_attempt(
    query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    now = 0.0
    connector = SnowflakeConnector(SnowflakeSettings(endpoint=snowflake.url), clock=lambda: now)
    await connector.create(query(), new_context())
    now = 60.0
    snowflake.faults["look_up"].append(Fault(401, "390144", "JWT token is invalid."))
    assert (await attempt(connector, query(), new_context)).query_id in snowflake.statements
    assert not snowflake.faults["look_up"]


class Files:
    """A source of secrets that is not the request."""

    kind = "files"

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    async def find(self, asked: Asked) -> Secret | None:
        value = self._values.get(asked.name)
        return None if value is None else Secret(value)

    def where(self, asked: Asked) -> str:
        return asked.name

    async def aclose(self) -> None:
        """It holds nothing."""


@pytest.fixture
def by_oauth(snowflake: FakeSnowflake) -> Mapping[str, str]:
    snowflake.oauth_tokens.add("an-invented-oauth-token")
    return {"snowflake_oauth_token": "an-invented-oauth-token"}


async def test_an_oauth_token_is_taken_where_there_is_no_key(
    connector: SnowflakeConnector,
    query: Query,
    new_context: NewContext,
    snowflake: FakeSnowflake,
    by_oauth: Mapping[str, str],
) -> None:
    job = await connector.create(query(), new_context(secrets=by_oauth))
    assert snowflake.last("submit").headers["X-Snowflake-Authorization-Token-Type"] == "OAUTH"
    assert (await connector.get(job, new_context(secrets=by_oauth))).phase is Phase.RUNNING


@pytest.mark.usefixtures("of_the_server")
async def test_a_task_that_asks_for_oauth_is_polled_with_it_too(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, by_oauth: Mapping[str, str]
) -> None:
    job = await connector.create(query(connection_kwargs={"authenticator": "oauth"}), new_context(secrets=by_oauth))
    polled = SnowflakeJob.decode(job.encode())
    assert (await connector.get(polled, new_context(secrets=by_oauth))).phase is Phase.RUNNING


async def test_a_secret_that_the_task_names_is_found_by_every_call(
    connector: SnowflakeConnector,
    query: Query,
    new_context: NewContext,
    key_pair: KeyPairOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEAM_KEY", key_pair.plain)
    job = await connector.create(query(secrets={"snowflake_private_key": "TEAM_KEY"}), new_context(secrets={}))
    polled = SnowflakeJob.decode(job.encode())
    assert (await connector.get(polled, new_context(secrets={}))).phase is Phase.RUNNING
    await connector.delete(polled, new_context(secrets={}))


async def test_a_projects_secret_is_found_by_calls_that_do_not_name_the_project(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, key_pair: KeyPairOf
) -> None:
    table = {"sales/production": {"snowflake_private_key": "sales_key"}}
    rules = SecretRules(names=SnowflakeConnector.secret_names, by_project=table)
    sources = [Files({"sales_key": key_pair.plain})]
    create, get = new_context(), new_context()
    create.secrets = Secrets(sources, rules=rules, scope=SecretScope(project="sales", domain="production"))
    get.secrets = Secrets(sources, rules=rules)
    polled = SnowflakeJob.decode((await connector.create(query(), create)).encode())
    assert (await connector.get(polled, get)).phase is Phase.RUNNING


async def test_the_value_that_flyte_2_sends_is_taken_whatever_the_task_calls_it(
    connector: SnowflakeConnector, query: Query, new_context: NewContext
) -> None:
    for name in ("NOT_ON_THE_LIST", "TEAM_KEY"):
        task = query(secrets={"snowflake_private_key": name})
        job = await connector.create(task, new_context(protocol="flyte2"))
        assert (job.secret_names, job.secret_references) == (None, None)  # the reference's meta has none either


async def test_a_name_that_is_not_allowed_is_refused_before_any_request(
    connector: SnowflakeConnector,
    query: Query,
    new_context: NewContext,
    snowflake: FakeSnowflake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOT_ON_THE_LIST", "x")
    with pytest.raises(PermissionDenied, match="NOT_ON_THE_LIST"):
        await connector.create(query(secrets={"snowflake_private_key": "NOT_ON_THE_LIST"}), new_context(secrets={}))
    assert snowflake.calls == []


@pytest.mark.parametrize(
    ("authenticator", "named"),
    [
        ("", ["snowflake_private_key", "snowflake_oauth_token"]),
        ("snowflake_jwt", ["snowflake_private_key"]),
        ("oauth", ["snowflake_oauth_token"]),
    ],
)
async def test_where_there_is_no_credential_the_secrets_that_would_be_one_are_named(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, authenticator: str, named: list[str]
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await connector.create(query(connection_kwargs={"authenticator": authenticator}), new_context(secrets={}))
    known = ["snowflake_private_key", "snowflake_oauth_token"]
    assert [name for name in known if f"'{name}'" in caught.value.message] == named


async def test_a_key_that_is_none_is_refused_before_any_request(
    connector: SnowflakeConnector, query: Query, new_context: NewContext, snowflake: FakeSnowflake
) -> None:
    with pytest.raises(InvalidRequest, match="not a key in PEM form"):
        await connector.create(query(), new_context(secrets={"snowflake_private_key": "no key"}))
    assert snowflake.calls == []


# --- accounts


async def test_an_account_that_is_not_listed_gets_no_credential(query: Query, new_context: NewContext) -> None:
    job = SnowflakeJob(**CONNECTION, query_id="01b2", has_output=False)
    for settings in (SnowflakeSettings(), SnowflakeSettings(accounts=("example-other",))):
        connector = SnowflakeConnector(settings)
        for call in (
            connector.create(query(), new_context()),
            connector.get(job, new_context()),
            connector.delete(job, new_context()),
        ):
            with pytest.raises(PermissionDenied, match="CONNECTORS_SNOWFLAKE__ACCOUNTS"):
                await call
