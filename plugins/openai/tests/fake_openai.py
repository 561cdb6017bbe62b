"""What no emulator does: API keys, organisations, refusals, filters, every state of a batch, long lists, gone files.

An HTTP server with OpenAI's chats, embeddings, files and batches, on 127.0.0.1. Lost and spoilt answers are the fault
proxy's part.
"""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

KEY = "sk-an-invented-key-0123456789"


@dataclass(frozen=True)
class Call:
    """A request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


class FakeOpenAI:
    """Its state is for tests to set and to read."""

    def __init__(self) -> None:
        self.url = ""
        self.keys = {KEY}
        self.calls: list[Call] = []
        self.choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello.", "refusal": None},
            "finish_reason": "stop",
        }
        """What a chat answers."""
        self.usage: Any = {
            "prompt_tokens": 12,
            "completion_tokens": 5,
            "total_tokens": 17,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
        self.batches: dict[str, dict[str, Any]] = {}
        """In the order in which they were made."""
        self.new_status = "validating"
        """Of a batch that is made."""
        self.files: dict[str, bytes] = {}
        self.knows_ranges = True
        self.clock: Callable[[], float] = time.time
        """What batches are made at."""
        self.answers: dict[str, Callable[[], web.StreamResponse]] = {}
        """By path: an answer in place of the right one."""
        self.page_size = 100
        """A list has no more on one page, whatever is asked for."""

    def last(self, path: str = "") -> Call:
        return next(call for call in reversed(self.calls) if call.path.startswith(f"/v1{path}"))

    def refuse(self, path: str, status: int, *, headers: Mapping[str, str] | None = None, **error: Any) -> None:
        """Answer with an error of OpenAI's shape."""
        self.answers[f"/v1{path}"] = lambda: _error(status, headers=headers, **error)

    def add_batch(self, **values: Any) -> dict[str, Any]:
        """A batch that somebody made."""
        number = len(self.batches)
        batch = {
            "id": f"batch_{number:04}",
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "errors": None,
            "input_file_id": "file-input",
            "completion_window": "24h",
            "status": self.new_status,
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(self.clock()),
            "completed_at": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": None,
            **values,
        }
        self.batches[batch["id"]] = batch
        return batch

    def of_key(self, key: str) -> list[dict[str, Any]]:
        """The batches that an idempotency key made."""
        return [each for each in self.batches.values() if (each["metadata"] or {}).get("connectors-key") == key]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeOpenAI]:
        app = web.Application(middlewares=[self._arrived])
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{batch}", self._retrieve)
        app.router.add_post("/v1/batches/{batch}/cancel", self._cancel)
        app.router.add_get("/v1/files/{file}/content", self._content)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _arrived(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.calls.append(Call(request.method, request.path, dict(request.query), request.headers, body))
        answer = self.answers.get(request.path)
        if answer is not None:
            return answer()
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.keys:
            return _error(401, message="Incorrect API key provided: sk-an***789.", code="invalid_api_key")
        found: web.StreamResponse = await handler(request)
        return found

    # --- a model's answers

    async def _chat(self, request: web.Request) -> web.Response:
        body = self.calls[-1].body
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": f"{body['model']}-2026"}
        return web.json_response({**answer, "choices": [self.choice], "usage": self.usage})

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = self.calls[-1].body
        data = [
            {"object": "embedding", "index": index, "embedding": _written(vector_of(text), body["encoding_format"])}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 8, "total_tokens": 8}
        # in any order: the index says which is which
        return web.json_response({"object": "list", "data": data[::-1], "model": body["model"], "usage": usage})

    # --- batches

    async def _create(self, request: web.Request) -> web.Response:
        body = self.calls[-1].body
        names = ("endpoint", "input_file_id", "completion_window", "metadata")
        return web.json_response(self.add_batch(**{name: body.get(name) for name in names}))

    async def _list(self, request: web.Request) -> web.Response:
        newest = list(reversed(self.batches.values()))
        after = request.query.get("after")
        if after:
            newest = newest[[each["id"] for each in newest].index(after) + 1 :]
        limit = min(int(request.query.get("limit", "20")), self.page_size)
        page = newest[:limit]
        return web.json_response({"object": "list", "data": page, "has_more": len(newest) > limit})

    async def _retrieve(self, request: web.Request) -> web.Response:
        batch = self.batches.get(request.match_info["batch"])
        return web.json_response(batch) if batch else _error(404, message="No batch found with this id.")

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self.batches.get(request.match_info["batch"])
        if batch is None:
            return _error(404, message="No batch found with this id.")
        if batch["status"] in {"completed", "failed", "expired", "cancelled", "cancelling"}:
            return _error(400, message=f"Cannot cancel a batch with status '{batch['status']}'.")
        batch["status"] = "cancelling"
        return web.json_response(batch)

    async def _content(self, request: web.Request) -> web.Response:
        content = self.files.get(request.match_info["file"])
        if content is None:
            return _error(404, message="No such File object.")
        start = request.http_range.start if self.knows_ranges else None
        if start is None:
            return web.Response(body=content)
        if start >= len(content):
            return web.Response(status=416)
        return web.Response(status=206, body=content[start:])


def vector_of(text: str) -> list[float]:
    """The fake's embedding of a text: exact in four bytes."""
    return [float(len(text)), 0.5, -2.0]


def _written(vector: list[float], encoding: str) -> Any:
    return vector if encoding == "float" else base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _error(status: int, *, headers: Mapping[str, str] | None = None, **error: Any) -> web.Response:
    body = {"message": "scripted", "type": "invalid_request_error", "param": None, "code": None, **error}
    return web.Response(
        status=status, text=json.dumps({"error": body}), content_type="application/json", headers=headers
    )
