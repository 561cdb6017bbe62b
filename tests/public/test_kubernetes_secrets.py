"""Secrets of Kubernetes, read by lightkube over HTTP from a server that answers as a cluster does."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from connectors import FailedPrecondition, InvalidRequest, PermissionDenied, Secrets, Unauthenticated, Unavailable
from connectors.secrets import KubernetesSecrets, SecretRules, SecretScope

pytestmark = pytest.mark.anyio

BEARER = "fake-cluster-token"  # of the server, at the cluster


class Cluster:
    """The part of Kubernetes' API that gives one secret."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], Mapping[str, bytes]] = {}
        self.requests: list[str] = []
        self.spoilt: web.Response | None = None
        """Given in place of any answer."""
        self.hangs = False
        self.entered, self.left, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        self.requests.append(f"{namespace}/{name}")
        self.entered.set()
        try:
            if self.hangs:
                await self.over.wait()
        finally:
            self.left.set()
        if self.spoilt is not None:
            return self.spoilt
        if request.headers.get("Authorization") != f"Bearer {BEARER}":
            return refusal(401, "Unauthorized")
        data = self.secrets.get((namespace, name))
        if data is None:
            return refusal(404, "NotFound")
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        found = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}
        return web.Response(body=json.dumps(found).encode(), content_type="application/json")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/{namespace}/secrets/{name}", self.answer)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        try:
            yield f"http://{host}:{port}"
        finally:
            self.over.set()
            await runner.cleanup()


def refusal(code: int, reason: str) -> web.Response:
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return web.Response(body=json.dumps(status).encode(), content_type="application/json", status=code)


def configure(url: str, file: Path, monkeypatch: pytest.MonkeyPatch, token: str = BEARER) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    file.write_text(json.dumps(config), "utf-8")  # YAML holds JSON
    monkeypatch.setenv("KUBECONFIG", str(file))


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    made = Cluster()
    async with made.serving() as url:
        configure(url, tmp_path / "config", monkeypatch)
        yield made


@pytest.fixture
async def source() -> AsyncIterator[KubernetesSecrets]:
    made = KubernetesSecrets(["team-*"])
    yield made
    await made.aclose()


def secrets_of(source: KubernetesSecrets, namespace: str = "team-a", rules: SecretRules | None = None) -> Secrets:
    return Secrets([source], rules=rules, scope=SecretScope(namespace))


async def test_a_secret_is_read_in_the_namespace_of_the_call(cluster: Cluster, source: KubernetesSecrets) -> None:
    for namespace in ("team-a", "team-b"):
        cluster.secrets[namespace, "databricks-token"] = {"token": f"fake-{namespace}\n".encode(), "other": b"x"}
    assert await secrets_of(source).get("databricks-token", key="token") == "fake-team-a"
    assert await secrets_of(source, "team-b").get("databricks-token", key="token") == "fake-team-b"


async def test_the_reference_finds_it_where_the_call_names_no_namespace(
    cluster: Cluster, source: KubernetesSecrets
) -> None:
    cluster.secrets["team-a", "databricks-token"] = {"token": b"fake-value"}
    secret = await secrets_of(source).look_up("databricks-token", key="token")
    assert secret.reference == "kubernetes:team-a/databricks-token/token"
    later = Secrets([source])
    assert await later.get("databricks-token", key="token", reference=secret.reference) == "fake-value"


async def test_a_name_is_written_as_kubernetes_has_names(cluster: Cluster, source: KubernetesSecrets) -> None:
    cluster.secrets["team-a", "snowflake-private-key"] = {"key": b"fake-value"}
    secret = await secrets_of(source).look_up("Snowflake_Private_Key")
    assert secret.reference == "kubernetes:team-a/Snowflake_Private_Key/"
    assert await Secrets([source]).get("Snowflake_Private_Key", reference=secret.reference) == "fake-value"


async def test_a_projects_own_secret_is_found_again(cluster: Cluster, source: KubernetesSecrets) -> None:
    cluster.secrets["team-a", "research"] = {"pat": b"fake-research", "other": b"x"}
    rules = SecretRules(names=("databricks-token",), by_project={"lab": {"databricks-token": "research/pat"}})
    scope = SecretScope("team-a", "lab", "production")
    secret = await Secrets([source], rules=rules, scope=scope).look_up("databricks-token", key="token")
    assert (secret.value, secret.reference) == ("fake-research", "kubernetes:team-a/research/pat")
    later = Secrets([source], rules=rules)
    assert await later.get("databricks-token", key="token", reference=secret.reference) == "fake-research"


@pytest.mark.parametrize("namespace", ["", "kube-system", "Team-A", "team-a/secrets/x/../..", "team-" + "a" * 60])
async def test_a_namespace_that_is_not_allowed_is_not_asked(
    namespace: str, cluster: Cluster, source: KubernetesSecrets
) -> None:
    with pytest.raises(FailedPrecondition, match=r"Kubernetes \(the"):
        await secrets_of(source, namespace).get("token")
    assert cluster.requests == []


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("kubernetes:kube-system/token/key", PermissionDenied),
        ("kubernetes:team-a/admin/key", PermissionDenied),
        ("kubernetes:team-a/token/other", PermissionDenied),
        ("kubernetes:team-a/../token/key", InvalidRequest),
        ("kubernetes:TEAM-A/token/key", PermissionDenied),
    ],
)
async def test_a_forged_reference_asks_nothing_of_the_cluster(
    reference: str, kind: type[Exception], cluster: Cluster, source: KubernetesSecrets
) -> None:
    with pytest.raises(kind):
        await Secrets([source]).get("token", key="key", reference=reference)
    assert cluster.requests == []


async def test_a_secret_that_is_not_there_is_looked_for_elsewhere(cluster: Cluster, source: KubernetesSecrets) -> None:
    cluster.secrets["team-a", "without"] = {"other": b"x"}
    assert await secrets_of(source).find("token") is None
    assert await secrets_of(source).find("without", key="token") is None
    with pytest.raises(FailedPrecondition, match="entry token of secret without in namespace team-a"):
        await secrets_of(source).get("without", key="token")


async def test_of_several_entries_one_must_be_named(cluster: Cluster, source: KubernetesSecrets) -> None:
    cluster.secrets["team-a", "token"] = {"a": b"x", "b": b"y"}
    with pytest.raises(FailedPrecondition, match="has 2 entries"):
        await secrets_of(source).get("token")


async def test_an_entry_that_is_no_text_is_not_shown(cluster: Cluster, source: KubernetesSecrets) -> None:
    cluster.secrets["team-a", "token"] = {"a": b"\xff\xfe"}
    with pytest.raises(FailedPrecondition, match="is no text"):
        await secrets_of(source).get("token")


async def test_what_was_found_is_given_again_for_a_minute(cluster: Cluster) -> None:
    now = 0.0
    source = KubernetesSecrets(["*"], clock=lambda: now)
    cluster.secrets["team-a", "token"] = {"a": b"fake-one"}
    assert await asyncio.gather(*(secrets_of(source).get("token") for _ in range(5))) == ["fake-one"] * 5
    cluster.secrets["team-a", "token"] = {"a": b"fake-two"}
    now = 59.0
    assert await secrets_of(source).get("token") == "fake-one"
    assert len(cluster.requests) == 1
    now = 60.0
    assert await secrets_of(source).get("token") == "fake-two"
    await source.aclose()


async def test_what_was_missing_is_looked_for_again_after_five_seconds(cluster: Cluster) -> None:
    now = 0.0
    source = KubernetesSecrets(["*"], clock=lambda: now)
    assert await secrets_of(source).find("token") is None
    cluster.secrets["team-a", "token"] = {"a": b"fake-one"}
    now = 4.0
    assert await secrets_of(source).find("token") is None
    now = 5.0
    assert await secrets_of(source).find("token") == "fake-one"
    await source.aclose()


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (refusal(403, "Forbidden"), PermissionDenied, "'get' on 'secrets'"),
        (refusal(401, "Unauthorized"), Unauthenticated, "the server's credentials"),
        (refusal(500, "InternalError"), Unavailable, "HTTP 500"),
        (refusal(429, "TooManyRequests"), Unavailable, "HTTP 429"),
        (web.Response(text="<html>", status=502), Unavailable, "HTTP 502"),
        (web.Response(text="<html>", status=404), Unavailable, "HTTP 404"),
        (web.Response(text="<html>"), Unavailable, "could not be asked"),
    ],
    ids=["forbidden", "unauthorised", "a fault", "too many", "a proxy's fault", "a proxy's 404", "no JSON"],
)
async def test_a_refusal_says_what_is_wrong(
    answer: web.Response, kind: type[Exception], text: str, cluster: Cluster, source: KubernetesSecrets
) -> None:
    cluster.spoilt = answer
    with pytest.raises(kind, match=text) as error:
        await secrets_of(source).get("token")
    assert BEARER not in str(error.value)


async def test_a_cluster_that_does_not_answer_is_unavailable(cluster: Cluster) -> None:
    cluster.hangs = True
    source = KubernetesSecrets(["*"], patience=0.05)
    with pytest.raises(Unavailable, match=r"within 0\.05 s"):
        await secrets_of(source).get("token")
    await source.aclose()


async def test_a_call_that_is_cancelled_leaves_no_open_request(cluster: Cluster) -> None:
    cluster.hangs = True
    source = KubernetesSecrets(["*"], patience=600)
    call = asyncio.create_task(secrets_of(source).get("token"))
    await cluster.entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(10):
        await cluster.left.wait()
    await source.aclose()


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others(
    cluster: Cluster, source: KubernetesSecrets
) -> None:
    cluster.secrets["team-a", "token"] = {"a": b"fake-one"}
    cluster.hangs = True
    first, second = (asyncio.create_task(secrets_of(source).get("token")) for _ in range(2))
    await cluster.entered.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    cluster.over.set()
    assert await second == "fake-one"


async def test_a_server_without_a_cluster_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: KubernetesSecrets
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(FailedPrecondition, match="KUBECONFIG"):
        await secrets_of(source).get("token")
