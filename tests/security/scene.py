"""A real server with every plugin, secrets from every source, and platforms that repeat whatever they were sent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import grpc.aio
from aiohttp import web
from cryptography import x509
from flyteidl.admin import agent_pb2
from flyteidl.service import agent_pb2_grpc

from connectors import Phase, TaskCategory, TaskExecutionId, TaskExecutionMetadata
from connectors.client import CallFailed, ConnectorClient, tls
from connectors.testing.faults import Fault, FaultProxy, ProxiedRequest
from plugins.bigquery.tests.fake_bigquery import FakeBigQuery
from plugins.databricks.tests.fake_databricks import FakeDatabricks
from plugins.http.tests.fake_service import FakeService
from plugins.openai.tests.fake_openai import FakeOpenAI
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake
from tests.observability.collector import Collector, collecting
from tests.public.test_kubernetes_secrets import Cluster
from tests.security.preparing import NAMESPACE, Secrets
from tests.security.tasks import HEADERS, Played, tasks
from tests.server.processes import ServerProcess
from tests.wire.tls import certify

__all__ = ["Evidence", "played"]

T = TypeVar("T")
Protocol = Literal["flyte1", "flyte2"]
_REFUSALS = (400, 401, 403, 404, 429, 500)
"""Statuses that every platform answers in turn, each time with all that it was sent."""


@dataclass
class Evidence:
    """What was said, by where it was said; and what must be nowhere in it."""

    secrets: dict[str, str] = field(default_factory=dict)
    said: dict[str, bytes] = field(default_factory=dict)
    arrived: dict[str, bytes] = field(default_factory=dict)
    """All that each platform was sent: where secrets belong."""
    outcomes: dict[str, list[str]] = field(default_factory=dict)
    """How the calls of each task ended."""

    def add(self, place: str, text: str | bytes) -> None:
        """More of what was said in a place."""
        self.said[place] = self.said.get(place, b"") + (text.encode() if isinstance(text, str) else text) + b"\n"


class _BigQuery(FakeBigQuery):
    """Its access tokens are secrets of the scene's."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token

    def _new_token(self) -> web.Response:
        return web.json_response({"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"})


def _echo(request: ProxiedRequest) -> bytes:
    """An error in every platform's form, with the credentials, the headers and the body of the request."""
    headers = " ".join(f"{name}: {value}" for name, value in request.headers.items())
    token = request.headers.get("Authorization", "").rpartition(" ")[2]
    other_forms = f"{quote(token, safe='')} {b64encode(f'user:{token}'.encode()).decode()}"
    message = f"refused: {token} {other_forms} ({headers}) {request.body.decode(errors='replace')}"
    answer = {
        "message": message,
        "code": token,
        "error_code": token,
        "error": {"code": 400, "message": message, "type": token, "errors": [{"message": message, "reason": token}]},
        "error_description": message,
        "sqlState": token,
    }
    return json.dumps(answer).encode()


@dataclass
class _Scene:
    folder: Path
    secrets: Secrets
    evidence: Evidence
    proxies: Mapping[str, FaultProxy]
    server: ServerProcess
    certificate: Path
    variables: Mapping[str, str]
    collector: Collector
    metas: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Of jobs that were made while all went well."""

    async def play(self) -> None:
        """Every task over both protocols: first as all goes well, then with each refusal."""
        protocols: tuple[Protocol, ...] = ("flyte1", "flyte2")
        for protocol in protocols:
            address, context = self.server.address, tls(self.certificate)
            # the first call of a task loads its platform's package, for seconds on a busy machine
            async with ConnectorClient(address, protocol, ssl=context, timeout=60.0) as client:
                await self._round(client, protocol, "well")
            async with ConnectorClient(address, protocol, ssl=context, timeout=5.0) as client:
                for status in _REFUSALS:
                    for proxy in self.proxies.values():
                        proxy.set_fault(Fault("answer", status=status, body=_echo))
                    await self._round(client, protocol, str(status))
                    for proxy in self.proxies.values():
                        proxy.clear_faults()
        await self._with_a_token_that_nobody_asked_for()

    async def _round(self, client: ConnectorClient, protocol: Protocol, name: str) -> None:
        every = tasks(self.proxies["webhook"].url)
        await asyncio.gather(*(self._play_task(client, protocol, name, each) for each in every))

    async def _play_task(self, client: ConnectorClient, protocol: Protocol, name: str, task: Played) -> None:
        owner = TaskExecutionId(project="sales", domain="production", execution=f"{protocol}-{name}", node_id=task.name)
        about: dict[str, Any] = {
            "output_prefix": f"s3://example/{protocol}-{name}/{task.name}/0",
            "metadata": TaskExecutionMetadata(task_execution_id=owner, namespace=NAMESPACE),
        }
        sent = self.secrets.of_request
        if task.is_sync and protocol == "flyte1":
            await self._note(task, "answers", lambda: client.do(task.template, task.inputs, **about))
            return
        meta = await self._note(task, "metas", lambda: client.create(task.template, task.inputs, secrets=sent, **about))
        if name == "well" and meta is not None:
            self.metas[protocol, task.name] = meta
        meta = meta or self.metas.get((protocol, task.name))
        if meta is None:
            return
        category, found = TaskCategory(task.template.type), meta
        if task.is_sync:
            await _until_over(client, category, found)
        await self._note(task, "answers", lambda: client.get(category, found, secrets=sent))
        await self._note(task, "answers", lambda: client.get_logs(category, found))
        await self._note(task, "answers", lambda: client.delete(category, found, secrets=sent))

    async def _note(self, task: Played, place: str, call: Callable[[], Awaitable[T]]) -> T | None:
        outcomes = self.evidence.outcomes.setdefault(task.name, [])
        try:
            answer = await call()
        except CallFailed as failure:
            outcomes.append(failure.status)
            self.evidence.add("errors", f"{task.name}: {failure}")
            return None
        outcomes.append("OK")
        self.evidence.add(place, answer if isinstance(answer, bytes) else repr(answer))
        return answer

    async def _with_a_token_that_nobody_asked_for(self) -> None:
        token = self.secrets.caller_token
        metadata = (("authorization", f"Bearer {token}"), ("x-api-key", token), ("baggage", f"key={token}"))
        trusted = grpc.ssl_channel_credentials(self.certificate.read_bytes())
        async with grpc.aio.secure_channel(self.server.address, trusted) as channel:
            category = agent_pb2.TaskCategory(name="snowflake")
            for meta in (b"{}", self.metas["flyte1", "snowflake"]):
                request = agent_pb2.GetTaskRequest(task_category=category, resource_meta=meta)
                try:
                    answer = await agent_pb2_grpc.AsyncAgentServiceStub(channel).GetTask(request, metadata=metadata)
                    self.evidence.add("answers", str(answer))
                except grpc.aio.AioRpcError as error:
                    self.evidence.add("errors", str(error))

    async def collect(self) -> None:
        """What can be asked while the server runs; then its end, and what it leaves behind."""
        pages = {"/metrics": "metrics", "/": "status page", "/status.json": "status page", "/readyz": "readiness"}
        for path, place in pages.items():
            self.evidence.add(place, await asyncio.to_thread(_fetched, self.server.metrics + path))
        listed = json.loads(await self._command("connectors jobs", "jobs", "list", "--json"))
        await self._command("connectors jobs", "jobs", "show", listed["jobs"][0]["key"])
        await self._run_here()
        await self._command("connectors check", "check")
        await self._command("connectors list", "list")
        self.evidence.add("argv", _read(Path(f"/proc/{self.server.pid}/cmdline")))
        self.server.send(signal.SIGTERM)
        await asyncio.to_thread(self.server.wait)
        self.evidence.add("logs", "\n".join(json.dumps(line, ensure_ascii=False) for line in self.server.lines))
        for file in ("records.sqlite", "records.sqlite-wal"):
            self.evidence.add("store", _read(self.folder / "state" / file))
        self.evidence.add("traces", b"\n".join(self.collector.bodies))

    async def _run_here(self) -> None:
        """Tasks that run in the command's own process: one that goes well, and one that is refused."""
        custom = {"url": f"{self.proxies['webhook'].url}/hook", "headers": HEADERS, "show_data": True}
        outputs = {"outputs": {"info": "dict"}}
        _write(self.folder / "hook.yaml", json.dumps({"type": "webhook", "custom": custom, "interface": outputs}))
        asked = {"inputs": {"message": "str"}}
        chat = {"type": "chatgpt", "custom": {"chatgpt_config": {"model": "gpt-6"}}, "interface": asked}
        _write(self.folder / "chat.yaml", json.dumps(chat))
        folder = self.folder / "outputs"
        for status in (None, 401):
            if status is not None:
                for proxy in self.proxies.values():
                    proxy.set_fault(Fault("answer", status=status, body=_echo))
            prefix = f"--output-prefix={folder}/{status}"
            await self._command("connectors run", "run", "hook.yaml", prefix)
            await self._command("connectors run", "run", "chat.yaml", "--input=message=Hello", "--json", prefix)
        for proxy in self.proxies.values():
            proxy.clear_faults()
        for file in _files(folder):
            self.evidence.add("files of a local run", _read(file))

    async def _command(self, place: str, *arguments: str) -> str:
        """What a command prints to a person, on both streams."""
        done = await asyncio.to_thread(
            subprocess.run,
            [str(Path(sys.executable).with_name("connectors")), *arguments],
            cwd=self.folder,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.evidence.add(place, done.stdout + done.stderr)
        return done.stdout


async def _until_over(client: ConnectorClient, category: TaskCategory, meta: bytes) -> None:
    """Flyte 2 polls for the result of a call that answers at once."""
    async with asyncio.timeout(60):
        phase = Phase.RUNNING
        while not phase.is_terminal:
            phase = (await client.get(category, meta)).phase


def _write(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")


def _files(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file()]


def _read(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - http, and our own
        data: bytes = answer.read()
        return data


@asynccontextmanager
async def _platforms(secrets: Secrets) -> AsyncIterator[Mapping[str, FaultProxy]]:
    async with AsyncExitStack() as stack:
        bigquery = await stack.enter_async_context(_BigQuery(secrets.google_token).serving())
        databricks = await stack.enter_async_context(FakeDatabricks().serving())
        openai = await stack.enter_async_context(FakeOpenAI().serving())
        snowflake = await stack.enter_async_context(FakeSnowflake().serving())
        webhook = await stack.enter_async_context(FakeService().serving())
        databricks.valid = {secrets.databricks_of_request, secrets.databricks_of_kubernetes}
        openai.keys = {secrets.openai_key}
        snowflake.keys["EXAMPLE-MAIN.LOADER"] = secrets.snowflake_public
        urls = {
            "bigquery": bigquery.url,
            "databricks": databricks.url,
            "openai": openai.url,
            "snowflake": snowflake.url,
            "webhook": webhook.url,
        }
        yield {name: await stack.enter_async_context(FaultProxy(url)) for name, url in urls.items()}


async def played(folder: Path) -> Evidence:
    """Everything that was said, when all is over."""
    secrets, evidence, cluster = Secrets(), Evidence(), Cluster()
    with collecting() as collector:
        async with _platforms(secrets) as proxies, cluster.serving() as kubernetes:
            cluster.secrets[NAMESPACE, "databricks-token"] = {"token": secrets.databricks_of_kubernetes.encode()}
            certificate, key = certify(folder, x509.IPAddress(ip_address("127.0.0.1")))
            secrets.tls_key = key.read_text()
            variables = secrets.prepare(folder, proxies, kubernetes=kubernetes, collector=collector.url)
            server = ServerProcess(
                *("--deny-plugins=bigquery", f"--tls-certificate={certificate}", f"--tls-key={key}"),
                plugins=folder / "plugins",
                cwd=folder,
                variables=variables,
            )
            try:
                await asyncio.to_thread(lambda: server.address)
                scene = _Scene(folder, secrets, evidence, proxies, server, certificate, variables, collector)
                await scene.play()
                await scene.collect()
            finally:
                server.close()
    evidence.secrets = secrets.named
    for name, proxy in proxies.items():
        evidence.arrived[name] = repr([(dict(each.headers), each.body) for each in proxy.requests]).encode()
        evidence.secrets |= _made_of_secrets(name, proxy)
    return evidence


def _made_of_secrets(name: str, proxy: FaultProxy) -> dict[str, str]:
    """The signed tokens that a platform was shown."""
    found = set()
    for request in proxy.requests:
        found.add(request.headers.get("Authorization", "").rpartition(" ")[2])
        found.add(request.body.decode(errors="replace").partition("assertion=")[2].partition("&")[0])
    signed = sorted(each for each in found if each.startswith("eyJ"))
    return {f"signed token {number} for {name}": each for number, each in enumerate(signed)}
