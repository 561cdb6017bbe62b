"""What no emulator does: credentials, version 2.1 of the API, queues and repairs, runs that were deleted, limits.

An HTTP server with Databricks' job runs and its token endpoint, on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from connectors.testing.stand_in import StandIn

TOKEN = "an-invented-token-of-databricks"
CLIENT_ID, CLIENT_SECRET = "2b1d6a52-7f0e-4a53-9a35-invented0001", "an-invented-client-secret"
TERMINATED = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""}


@dataclass(frozen=True)
class Fault:
    """The answer to one call, in place of the right one."""

    status: int
    code: str = ""
    message: str = "scripted"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """In place of Databricks' error object."""


class FakeDatabricks(StandIn):
    """Its state is for tests to set and to read."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[int, dict[str, Any]] = {}
        self.tokens: dict[str, int] = {}
        """The run of each idempotency token, also of a run that was deleted."""
        self.outputs: dict[int, dict[str, Any]] = {}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        """By operation: submit, get, get-output, cancel, token."""
        self.valid = {TOKEN}
        """The access tokens that are accepted."""
        self.lifetime = 3600
        """Of the tokens that it grants, in seconds."""
        self.granted = 0
        self.clock = time.time
        self.new_run: dict[str, Any] = {"state": TERMINATED}
        """What a run is made of, beside what the request says."""
        self.token_answers = asyncio.Event()
        """The token endpoint waits for it."""
        self.token_answers.set()
        self.output_answers = asyncio.Event()
        """get-output waits for it."""
        self.output_answers.set()

    @property
    def place(self) -> str:
        """Its host and port."""
        return self.url.removeprefix("http://")

    def runs_under(self, key: str) -> int:
        return sum(run["idempotency_token"] == key for run in self.runs.values())

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        runs = "/api/{version:2.[12]}/jobs/runs"
        return [
            web.post(runs + "/submit", self._submit),
            web.get(runs + "/get", self._get),
            web.get(runs + "/get-output", self._output),
            web.post(runs + "/cancel", self._cancel),
            web.get("/.well-known/databricks-config", self._host),
            web.get("/oidc/.well-known/oauth-authorization-server", self._endpoints),
            web.post("/oidc/v1/token", self._token),
        ]

    # --- runs

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if (fault := self._arrived("submit", request, body)) is not None:
            return fault
        token = body.get("idempotency_token", "")
        if token in self.tokens:
            if self.tokens[token] not in self.runs:
                return _error(400, "INVALID_PARAMETER_VALUE", f"Run {self.tokens[token]} does not exist.")
            return web.json_response({"run_id": self.tokens[token]})
        run_id = 1_000_000_000_000 + len(self.tokens)
        self.tokens[token] = run_id
        tasks = [
            {"task_key": task["task_key"], "run_id": run_id + 500 + number, "attempt_number": 0, **self.new_run}
            for number, task in enumerate(body["tasks"])
        ]
        self.runs[run_id] = {
            "run_id": run_id,
            "job_id": 77,
            "run_name": body.get("run_name", "Untitled"),
            "run_page_url": f"https://example.cloud.databricks.com/?o=1#job/77/run/{run_id}",
            "start_time": int(self.clock() * 1000),
            "end_time": 0,
            "idempotency_token": token,
            "tasks": tasks,
            **self.new_run,
        }
        return web.json_response({"run_id": run_id})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if (fault := self._arrived("get", request)) is not None:
            return fault
        run = self.runs.get(int(request.query["run_id"]))
        if run is None:
            return _no_run(request.query["run_id"])
        hidden = {"idempotency_token"} | (
            {"repair_history"} if request.query.get("include_history") != "true" else set()
        )
        return web.json_response({name: value for name, value in run.items() if name not in hidden})

    async def _output(self, request: web.Request) -> web.StreamResponse:
        if (fault := self._arrived("get-output", request)) is not None:
            return fault
        await self.output_answers.wait()
        run_id = int(request.query["run_id"])
        if run_id in self.runs:
            message = "Retrieving the output of runs with multiple tasks is not supported."
            return _error(400, "INVALID_PARAMETER_VALUE", message)
        output = self.outputs.get(run_id)
        return web.json_response(output) if output is not None else _no_run(str(run_id))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if (fault := self._arrived("cancel", request, body)) is not None:
            return fault
        run = self.runs.get(body["run_id"])
        if run is None:
            return _no_run(body["run_id"])
        if run["state"]["life_cycle_state"] != "TERMINATED":
            run["state"] = {"life_cycle_state": "TERMINATED", "result_state": "CANCELED", "state_message": "Canceled."}
        return web.json_response({})

    # --- credentials

    async def _host(self, request: web.Request) -> web.StreamResponse:
        self.note("host", request)
        return web.json_response({"oidc_endpoint": f"{self.url}/oidc", "workspace_id": "1"})

    async def _endpoints(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"authorization_endpoint": f"{self.url}/oidc/v1/authorize", "token_endpoint": f"{self.url}/oidc/v1/token"}
        )

    async def _token(self, request: web.Request) -> web.StreamResponse:
        """RFC 6749 §4.4, and RFC 8693 for an identity token of others."""
        form = dict(await request.post())
        self.note("token", request, form)
        await self.token_answers.wait()
        if self.faults["token"]:
            return _answer(self.faults["token"].popleft())
        own = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        exchanged = form.get("subject_token") == "an-invented-identity-token" and form.get("client_id") == CLIENT_ID
        if request.headers.get("Authorization") != own and not exchanged:
            text = {"error": "invalid_client", "error_description": "Client authentication failed"}
            return web.json_response(text, status=401)
        self.granted += 1
        token = f"granted-access-token-{self.granted:04d}"
        self.valid.add(token)
        return web.json_response({"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"})

    # --- faults

    def _arrived(self, operation: str, request: web.Request, body: Any = None) -> web.Response | None:
        self.note(operation, request, body)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.valid:
            return _error(401, "", "Credential was not sent or was of an unsupported type for this API.")
        return _answer(self.faults[operation].popleft()) if self.faults[operation] else None


def _no_run(run_id: Any) -> web.Response:
    return _error(400, "INVALID_PARAMETER_VALUE", f"Run {run_id} does not exist.")


def _answer(fault: Fault) -> web.Response:
    if fault.body is not None:
        return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
    return _error(fault.status, fault.code, fault.message, fault.headers)


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    text = {"message": message, **({"error_code": code} if code else {})}
    return web.json_response(text, status=status, headers=headers)
