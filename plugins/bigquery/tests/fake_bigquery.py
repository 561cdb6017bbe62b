"""What no emulator does: locations, credentials, limits, jobs that wait, errors in BigQuery's own words.

An HTTP server with BigQuery's jobs, Google's token endpoint and the metadata server of Google Cloud, on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from connectors.testing.stand_in import StandIn


@dataclass(frozen=True)
class Fault:
    """The answer to one call, in place of the right one."""

    status: int = 200
    reason: str = ""
    message: str = "scripted"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """In place of Google's error object."""
    hangs_up: bool = False
    """The connection is closed in place of an answer."""
    waits: bool = False
    """No answer until the server ends."""


class FakeBigQuery(StandIn):
    """Its state is for tests to set and to read."""

    def __init__(self) -> None:
        super().__init__()
        self.home = "europe-west4"
        """Where jobs run that name no location."""
        self.requires_token = True
        self.names_location_in_conflict = True
        self.jobs: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        """By operation: insert, dry_run, get, cancel, token."""
        self.tokens = 0
        """How many were given."""
        self.lifetime = 3600
        self.revoked: set[str] = set()
        self.clock = time.time
        """What jobs are made at."""
        self.new_job: dict[str, Any] = {"status": {"state": "DONE"}}
        """What a job is made of, beside what the request says."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        jobs = "/bigquery/v2/projects/{project}/jobs"
        return [
            web.post(jobs, self._insert),
            web.get(jobs + "/{job}", self._get),
            web.post(jobs + "/{job}/cancel", self._cancel),
            web.post("/token", self._token),
            web.get("/{rest:computeMetadata.*|}", self._metadata),
        ]

    # --- jobs

    async def _insert(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        dry = bool(body["configuration"].get("dryRun"))
        fault = await self._arrived("dry_run" if dry else "insert", request, body)
        if fault is not None:
            return await self._answer_with(fault, request)
        reference = {"location": self.home, **body["jobReference"]}
        if dry:
            return web.json_response({"jobReference": reference, "status": {"state": "DONE"}})
        name = (reference["projectId"], reference["location"], reference["jobId"])
        if name in self.jobs:
            where = "{}:{}.{}".format(*name) if self.names_location_in_conflict else name[2]
            return _error(409, "duplicate", f"Already Exists: Job {where}")
        made = {"creationTime": str(int(self.clock() * 1000))}
        job = {
            "jobReference": reference,
            "configuration": body["configuration"],
            "statistics": made,
            **self.new_job,
        }
        self.jobs[name] = job
        return web.json_response(job)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        fault = await self._arrived("get", request)
        if fault is not None:
            return await self._answer_with(fault, request)
        job = self._found(request)
        return web.json_response(job) if job else _error(404, "notFound", "Not found: Job")

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        fault = await self._arrived("cancel", request)
        if fault is not None:
            return await self._answer_with(fault, request)
        job = self._found(request)
        return (
            web.json_response({"kind": "bigquery#jobCancelResponse"})
            if job
            else _error(404, "notFound", "Not found: Job")
        )

    def _found(self, request: web.Request) -> dict[str, Any] | None:
        location = request.query.get("location", "US")
        return self.jobs.get((request.match_info["project"], location, request.match_info["job"]))

    # --- credentials

    async def _token(self, request: web.Request) -> web.StreamResponse:
        fault = await self._arrived("token", request, dict(await request.post()))
        return await self._answer_with(fault, request) if fault is not None else self._new_token()

    def _new_token(self) -> web.Response:
        self.tokens += 1
        return web.json_response(
            {"access_token": f"token-{self.tokens}", "expires_in": self.lifetime, "token_type": "Bearer"}
        )

    async def _metadata(self, request: web.Request) -> web.StreamResponse:
        """https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys, as far as google-auth asks."""
        path = request.path.removeprefix("/computeMetadata/v1/")
        if path.endswith("/token"):
            answer = self._new_token()
        elif path.startswith("instance/service-accounts/"):
            answer = web.json_response(
                {"email": "server@example.iam.gserviceaccount.com", "scopes": [], "aliases": ["default"]}
            )
        else:
            answer = web.Response(text="example-project")
        answer.headers["Metadata-Flavor"] = "Google"
        return answer

    # --- faults

    async def _arrived(self, operation: str, request: web.Request, body: Any = None) -> Fault | None:
        self.note(operation, request, body)
        if operation != "token" and self.requires_token:
            bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not bearer.startswith("token-") or bearer in self.revoked:
                return Fault(401, "authError", "Invalid Credentials")
        return self.faults[operation].popleft() if self.faults[operation] else None

    async def _answer_with(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        if fault.waits:
            await asyncio.Event().wait()
        if fault.hangs_up:
            assert request.transport is not None
            request.transport.abort()
        if fault.body is not None:
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        return _error(fault.status, fault.reason, fault.message, fault.headers)


def _error(status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    details = [{"message": message, "domain": "global", "reason": reason}]
    text = json.dumps({"error": {"code": status, "message": message, "errors": details}})
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
