"""The calls about tasks and jobs that both protocols have: from bytes to the engine and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connectors._engine.engine import Engine
from connectors._engine.requests import Caller, CreateRequest, JobRequest
from connectors._messages.decoding import parse
from connectors._messages.encoding import serialise
from connectors._messages.instants import read_duration, read_timestamp
from connectors._messages.observations import write_metric
from connectors._messages.plain_inputs import plain_inputs
from connectors._messages.templates import STREAMED, read_template
from connectors._wire.dialect import Dialect, caller_of
from connectors._wire.envelopes import Envelope, Once, task_category_in
from connectors._wire.fallback import Fallback
from connectors._wire.large_messages import LARGE, parsed, read, written
from connectors._wire.rejection import reading
from connectors._wire.transport import Call, Route, unary
from connectors.errors import InvalidRequest
from connectors.models import LogLine, LogPage, TaskCategory, TaskTemplate

__all__ = ["create_request", "routes"]

_MOST_QUERIES = 1_000
_BODY_BYTES = 512 * 1024  # of text: what a page holds is sent twice, and callers take 4 MiB by default


def routes(service: str, engine: Engine, dialect: Dialect, fallback: Fallback | None = None) -> dict[str, Route]:
    """The routes of an ``AsyncAgentService`` or an ``AsyncConnectorService``.

    :param service: its full name.
    """
    calls = _Tasks(engine, dialect, fallback)
    return {
        f"/{service}/CreateTask": unary(calls.create),
        f"/{service}/GetTask": unary(calls.get),
        f"/{service}/DeleteTask": unary(calls.delete),
        f"/{service}/GetTaskMetrics": unary(calls.get_metrics),
        f"/{service}/GetTaskLogs": Route(calls.get_logs, server_streaming=True),
    }


def create_request(dialect: Dialect, envelope: Envelope, caller: Caller) -> CreateRequest:
    """A create as the engine takes it. Native values of template and inputs are made once: when they are first asked
    for, or now if they are so large that whoever asks would hold the event loop.

    :raises InvalidRequest: there is no template, or it names no type.
    :raises Malformed: a part of the request is not what it should be.
    """
    core = dialect.core
    template, inputs = envelope.raw("template"), envelope.raw("inputs") or b""
    large = len(template or b"") + len(inputs) >= LARGE
    late = dialect.late_parts
    read_task: Once[TaskTemplate]
    if large:
        task_message = envelope.reader("template", core.TaskTemplate, streamed=STREAMED)
        category = task_category_in(core.TaskTemplate, template or b"")
        read_task = Once(lambda: read_template(task_message()))
    else:
        message = late.parse_template(template or b"")
        category = TaskCategory(message.type, message.task_type_version)
        read_task = Once(lambda: late.read_template(message))
    read_inputs: Once[Mapping[str, Any]]
    plain = None if large else plain_inputs(inputs)
    if plain is None:
        inputs_message = envelope.reader("inputs", dialect.inputs, streamed=dialect.streamed if large else None)
        read_inputs = Once(lambda: dialect.read_inputs(inputs_message()))
    else:
        read_inputs = Once(lambda: plain)
    metadata = late.read_execution_metadata(envelope.raw("task_execution_metadata"))
    if template is None:
        raise InvalidRequest("template is missing: the request names no task")
    if not category.name:
        raise InvalidRequest("template.type is empty: it names the connector")
    if large:
        read_task.prepare()
        read_inputs.prepare()

    return CreateRequest(
        caller=caller,
        category=category,
        output_prefix=envelope.text("output_prefix"),
        metadata=metadata,
        template=read_task,
        inputs=read_inputs,
        input_bytes=len(inputs),
        template_bytes=len(template),
        stored_form=lambda: dialect.stored_form(envelope),
    )


class _Tasks:
    """One handler for each call."""

    def __init__(self, engine: Engine, dialect: Dialect, fallback: Fallback | None) -> None:
        self._engine = engine
        self._dialect = dialect
        self._fallback = fallback
        self._calls = dialect.calls

    async def create(self, call: Call, data: bytes) -> bytes:
        def request() -> CreateRequest:
            envelope = Envelope(self._calls.CreateTaskRequest, data)
            caller = caller_of(call, self._dialect.protocol, self._dialect.secrets_in(envelope))
            return create_request(self._dialect, envelope, caller)

        asked = await read(len(data), request)
        if self._fallback is not None and self._fallback.takes(call, self._dialect.protocol, asked.category):
            return await self._fallback.create(call, data, asked)
        meta = await self._engine.create(asked)
        return serialise(self._calls.CreateTaskResponse(resource_meta=meta))

    async def get(self, call: Call, data: bytes) -> bytes:
        kind = self._calls.GetTaskRequest
        with reading():
            message = parse(kind, data) if len(data) < LARGE else await parsed(kind, data)
            request = self._job(call, message, message.output_prefix)
        if (fallback := self._elsewhere(call, request)) is not None:
            return await fallback.job(call, data, "get", request)
        resource = await self._engine.get(request)
        if resource.outputs is None:
            return self._dialect.answer(resource)
        return await written(resource, lambda: self._dialect.answer(resource))

    async def delete(self, call: Call, data: bytes) -> bytes:
        message = await parsed(self._calls.DeleteTaskRequest, data)
        with reading():
            request = self._job(call, message)
        if (fallback := self._elsewhere(call, request)) is not None:
            return await fallback.job(call, data, "delete", request)
        await self._engine.delete(request)
        return serialise(self._calls.DeleteTaskResponse())

    async def get_metrics(self, call: Call, data: bytes) -> bytes:
        message = await parsed(self._calls.GetTaskMetricsRequest, data)
        with reading():
            if len(message.queries) > _MOST_QUERIES:
                raise InvalidRequest(f"queries has {len(message.queries)} entries; at most {_MOST_QUERIES} are served")
            request = self._job(call, message)
            start = read_timestamp(message.start_time, "start_time")
            end = read_timestamp(message.end_time, "end_time")
            step = read_duration(message.step, "step")
        if (fallback := self._elsewhere(call, request)) is not None:
            return await fallback.job(call, data, "get_metrics", request)
        results = await self._engine.get_metrics(
            request, queries=tuple(message.queries), start=start, end=end, step=step
        )
        metrics = [write_metric(each, self._dialect.core) for each in results]
        return serialise(self._calls.GetTaskMetricsResponse(results=metrics))

    async def get_logs(self, call: Call) -> None:
        """A header with the token of the next page, then the lines."""
        data = await call.receive()
        message = await parsed(self._calls.GetTaskLogsRequest, data or b"")
        with reading():
            request = self._job(call, message)
        if (fallback := self._elsewhere(call, request)) is not None:
            await fallback.job_stream(call, data or b"", "get_logs", request)
            return
        page = await self._engine.get_logs(request, lines=message.lines, token=message.token)
        response = self._calls.GetTaskLogsResponse
        await call.send(serialise(response(header=self._calls.GetTaskLogsResponseHeader(token=page.token))))
        for part in _parts(page):
            await call.send(serialise(response(body=self._dialect.write_logs(part))))

    def _elsewhere(self, call: Call, request: JobRequest) -> Fallback | None:
        """The other service, where the job is one of its own."""
        fallback = self._fallback
        return fallback if fallback is not None and fallback.takes_job(call, request) else None

    def _job(self, call: Call, message: Any, output_prefix: str = "") -> JobRequest:
        secrets = self._dialect.secrets(getattr(message, "connection", None))
        caller = caller_of(call, self._dialect.protocol, secrets)
        return JobRequest(caller, self._dialect.category(message), message.resource_meta, output_prefix)


def _parts(page: LogPage) -> Iterator[LogPage]:
    """The page in as many messages as it takes; a line is never cut."""
    lines: list[LogLine] = []
    size = 0
    for line in page.lines:
        length = len(line.message)
        if lines and size + length > _BODY_BYTES:
            yield LogPage(tuple(lines))
            lines, size = [], 0
        lines.append(line)
        size += length
    yield LogPage(tuple(lines))
