"""How a machine, or the deployment itself, signs in through the SDK, and how its tokens stay fresh."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

import pytest

from connectors import (
    Context,
    FailedPrecondition,
    HttpClient,
    Phase,
    Secrets,
    Unauthenticated,
    Unavailable,
)
from connectors.http import Egress
from connectors.secrets import RequestSecrets
from connectors.testing.contexts import NewContext
from connectors_databricks import DatabricksConnector, DatabricksRun, DatabricksSettings
from connectors_databricks._signing import Credentials, Signer
from plugins.databricks.tests.conftest import Task
from plugins.databricks.tests.fake_databricks import CLIENT_ID, CLIENT_SECRET, FakeDatabricks, Fault
from plugins.databricks.tests.secret_sources import Namespaces, bearer, in_and_out_of_a_project

pytestmark = pytest.mark.anyio


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


# --- OAuth for machines


OAUTH = {"databricks_client_id": CLIENT_ID, "databricks_client_secret": CLIENT_SECRET}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def machine(databricks: FakeDatabricks, clock: Clock) -> AsyncIterator[DatabricksConnector]:
    settings = DatabricksSettings(instances=(databricks.url,), auth_type="oauth-m2m")
    connector = DatabricksConnector(settings, clock=clock)
    yield connector
    await connector.aclose()


async def test_a_machines_token_is_fetched_once_for_all_calls(
    machine: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    creates = (machine.create(task(), new_context(secrets=OAUTH)) for _ in range(5))
    jobs = await asyncio.gather(*creates)
    await machine.get(jobs[0], new_context(secrets=OAUTH))
    assert databricks.count("token") == 1
    assert bearer(databricks, "get") == "granted-access-token-0001"
    assert jobs[0].auth_type is None  # the deployment's own way needs no word in the meta


async def test_a_task_may_choose_oauth_and_the_meta_keeps_it(
    connector: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    secrets = {"ns/team-oauth/client_id": CLIENT_ID, "ns/team-oauth/client_secret": CLIENT_SECRET}
    chosen = task(databricksAuthType="oauth_m2m", databricksOauthSecret="team-oauth")
    job = await connector.create(chosen, new_context(sources=[Namespaces(secrets, workflows="ns")]))
    assert bearer(databricks) == "granted-access-token-0001"
    assert job == DatabricksRun(
        databricks.place, job.run_id, auth_type="oauth_m2m", oauth_secret_name="team-oauth", namespace="ns"
    )
    await connector.get(job, new_context(sources=[Namespaces(secrets)]))
    assert databricks.count("token") == 1


async def test_a_projects_client_is_found_by_calls_that_do_not_name_the_project(
    machine: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, tmp_path: Path
) -> None:
    (tmp_path / "sales-client").write_text(CLIENT_ID)
    (tmp_path / "sales-client-secret").write_text(CLIENT_SECRET)
    table = {"databricks_client_id": "sales-client", "databricks_client_secret": "sales-client-secret"}
    create, get = in_and_out_of_a_project(new_context, tmp_path, "flyte1", table)
    job = await machine.create(task(), create)
    assert CLIENT_SECRET.encode() not in job.encode()
    await machine.get(DatabricksRun.decode(job.encode()), get)
    assert bearer(databricks, "get") == "granted-access-token-0001"


async def test_a_secret_without_entries_is_the_clients_secret(
    machine: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    secrets = {"databricks-oauth": CLIENT_SECRET, "databricks_client_id": CLIENT_ID}
    await machine.create(task(), new_context(secrets=secrets))
    assert bearer(databricks) == "granted-access-token-0001"


async def test_a_token_is_renewed_before_it_ends_while_calls_go_on(
    machine: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, clock: Clock
) -> None:
    databricks.lifetime = 30  # so that the SDK, whose clock is the machine's, fetches another whenever it is asked
    job = await machine.create(task(), new_context(secrets=OAUTH))
    first = bearer(databricks)
    clock.now += 16.0
    databricks.token_answers.clear()
    await machine.get(job, new_context(secrets=OAUTH))  # is not held up by the renewal that it starts
    assert bearer(databricks, "get") == first
    databricks.token_answers.set()
    async with asyncio.timeout(10):
        while bearer(databricks, "get") == first:
            await machine.get(job, new_context(secrets=OAUTH))


async def test_an_ended_token_is_not_used(
    machine: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, clock: Clock
) -> None:
    databricks.lifetime = 30
    job = await machine.create(task(), new_context(secrets=OAUTH))
    clock.now += 31.0
    await machine.get(job, new_context(secrets=OAUTH))
    assert bearer(databricks, "get") != bearer(databricks)


async def test_a_token_that_is_refused_is_replaced(
    machine: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext, clock: Clock
) -> None:
    job = await machine.create(task(), new_context(secrets=OAUTH))
    databricks.valid.clear()  # it was revoked
    with pytest.raises(Unauthenticated):  # a new one would be refused as well
        await machine.get(job, new_context(secrets=OAUTH))
    clock.now += 31.0
    with pytest.raises(Unavailable, match="a new one will be fetched"):
        await machine.get(job, new_context(secrets=OAUTH))
    assert (await machine.get(job, new_context(secrets=OAUTH))).phase is Phase.SUCCEEDED
    assert databricks.count("token") == 2


async def test_a_client_that_is_refused_is_told_so_without_its_secret(
    machine: DatabricksConnector,
    databricks: FakeDatabricks,
    task: Task,
    new_context: NewContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = {**OAUTH, "databricks_client_secret": "another-invented-secret"}
    with pytest.raises(Unauthenticated, match="invalid_client") as refused:
        await machine.create(task(), new_context(secrets=wrong))
    assert refused.value.proves_no_job
    assert "another-invented-secret" not in caplog.text + repr(refused.value)
    assert databricks.count("submit") == 0


async def test_a_token_endpoint_that_fails_is_a_passing_fault(
    machine: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    databricks.faults["token"].append(Fault(503, body=b"down"))
    with pytest.raises(Unavailable):
        await machine.create(task(), new_context(secrets=OAUTH))
    await machine.create(task(), new_context(secrets=OAUTH))


async def test_a_caller_that_gives_up_takes_the_token_from_nobody(
    machine: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    databricks.token_answers.clear()
    first = asyncio.ensure_future(machine.create(task(), new_context(secrets=OAUTH)))
    second = asyncio.ensure_future(machine.create(task(), new_context(secrets=OAUTH)))
    async with asyncio.timeout(20):
        while not databricks.count("token"):  # noqa: ASYNC110 - it is asked for in a thread
            await asyncio.sleep(0.02)
    _ = first.cancel()
    databricks.token_answers.set()
    await second
    assert first.cancelled()
    assert databricks.count("token") == 1


async def test_a_secret_that_was_replaced_is_used_at_once(
    machine: DatabricksConnector, databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    await machine.create(task(), new_context(secrets=OAUTH))
    with pytest.raises(Unauthenticated):
        await machine.create(task(), new_context(secrets={**OAUTH, "databricks_client_secret": "replaced-secret"}))


@pytest.mark.parametrize("missing", ["client_id", "client_secret"])
async def test_what_oauth_lacks_is_named(
    machine: DatabricksConnector, task: Task, new_context: NewContext, missing: str
) -> None:
    some = {name: value for name, value in OAUTH.items() if not name.endswith(missing)}
    with pytest.raises(FailedPrecondition, match=f"needs a {missing}"):
        await machine.create(task(), new_context(secrets=some))


class Sessions:
    """Opens sessions whose headers are good for an hour, and counts."""

    def __init__(self) -> None:
        self.opened = 0
        self.signed = 0

    def open(self, _credentials: Credentials, _egress: Egress) -> Sessions:
        self.opened += 1
        return self

    def sign(self) -> tuple[Mapping[str, str], float]:
        self.signed += 1
        return {"Authorization": "Bearer invented"}, 3600.0


async def test_a_session_signs_until_its_headers_are_refused(clock: Clock) -> None:
    sessions, credentials = Sessions(), Credentials("https://h", attributes={"client_id": "a"})
    signer = Signer(clock=clock, open_session=sessions.open)
    await signer.sign(credentials, Egress())
    clock.now += 3600
    second = await signer.sign(credentials, Egress())
    assert (sessions.opened, sessions.signed) == (1, 2)
    clock.now += 60
    assert signer.refused(credentials, second)
    await signer.sign(credentials, Egress())
    assert (sessions.opened, sessions.signed) == (2, 3)
    await signer.aclose()


# --- other ways of the SDK's


async def test_an_identity_token_of_kubernetes_is_exchanged(
    databricks: FakeDatabricks, task: Task, new_context: NewContext, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("an-invented-identity-token")
    settings = DatabricksSettings(instances=(databricks.url,), client_id=CLIENT_ID, oidc_token_file=str(file))
    connector = DatabricksConnector(settings)
    job = await connector.create(task(databricksAuthType="oidc_federation"), new_context(secrets={}))
    assert bearer(databricks) == "granted-access-token-0001"
    assert job.auth_type == "oidc_federation"
    await connector.get(job, new_context(secrets={}))
    await connector.aclose()


async def test_the_deployments_identity_is_what_the_sdk_finds_in_the_environment(
    connector: DatabricksConnector,
    databricks: FakeDatabricks,
    task: Task,
    new_context: NewContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", CLIENT_SECRET)
    job = await connector.create(task(), new_context(secrets={}))
    assert bearer(databricks) == "granted-access-token-0001"
    assert job == DatabricksRun(databricks.place, job.run_id)


async def test_an_identity_that_the_sdk_cannot_make_is_told(
    databricks: FakeDatabricks, task: Task, new_context: NewContext
) -> None:
    connector = DatabricksConnector(DatabricksSettings(instances=(databricks.url,), auth_type="azure-client-secret"))
    with pytest.raises(FailedPrecondition, match="cannot configure default credentials"):
        await connector.create(task(), new_context(secrets={}))
    await connector.aclose()


PAST_A_PROXY = {
    "169.254.169.254": True,
    "metadata.google.internal": True,
    "intranet.example": True,
    "login.microsoftonline.com": False,
}


async def test_the_sdk_goes_the_way_that_the_operator_set(
    databricks: FakeDatabricks, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "REQUESTS_CA_BUNDLE", "no_proxy"):  # so that what is set goes again
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    settings = DatabricksSettings(instances=("http://localhost:1",), auth_type="oauth-m2m")  # nobody listens there
    connector = DatabricksConnector(settings)
    async with HttpClient(egress=Egress(proxy=databricks.url)) as http:
        ctx = Context(http=http, secrets=Secrets([RequestSecrets(OAUTH)]), deadline=math.inf, idempotency_key="k")
        await connector.create(task(), ctx)
    assert bearer(databricks) == "granted-access-token-0001"
    assert databricks.last("host").headers["Host"] == databricks.last("submit").headers["Host"] == "localhost:1"
    # what a cloud's metadata server says of this machine, no proxy's would
    assert {place: bool(proxy_bypass_environment(place)) for place in PAST_A_PROXY} == PAST_A_PROXY
    await connector.aclose()
