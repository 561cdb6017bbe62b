"""Facts about how a connector behaves in a server: beside others, and with what it was trusted with."""
# ruff: noqa: S101 - assert is how a test speaks

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterable

import pytest

from connectors.connector import ResourceMeta
from connectors.errors import ConnectorError, InvalidRequest, PermissionDenied
from connectors.http import HttpClient
from connectors.secrets import redact
from connectors.testing.contract._calls import Calls, Operation
from connectors.testing.contract._case import AsyncCase, SyncCase
from connectors.testing.contract._heartbeat import Heartbeat
from connectors.testing.faults import Fault, FaultProxy, ForeignHost, ProxiedRequest

__all__ = ["ConductFacts"]

_SLOWNESS = 1.5  # seconds for which each answer waits: a loop that waits with it stands still as long
_STANDSTILL = 1.0  # seconds
_SHORTEST = 6  # characters of what can be told from an ordinary word


class ConductFacts:
    """The same for both kinds of connectors."""

    async def test_the_event_loop_goes_on_while_the_platform_is_slow(
        self, calls: Calls, another: Calls, proxy: FaultProxy
    ) -> None:
        """``another`` has nothing cached: its first call fetches its credentials too. What it imports is there."""
        operations = [await calls.operation(name) for name in calls.operations]
        proxy.set_fault(Fault("slow", delay=_SLOWNESS))
        async with Heartbeat() as heart:
            await asyncio.gather(
                another.operation(calls.operations[0]), *(each.run(each.context()) for each in operations)
            )
        assert heart.longest < _STANDSTILL, f"the event loop stood still for {heart.longest:.2f} s"

    async def test_a_server_that_ends_leaves_no_open_request(
        self, case: AsyncCase | SyncCase, http: HttpClient, proxy: FaultProxy
    ) -> None:
        """Nor does a call that is cancelled while the credentials are fetched, once the connector is closed."""
        proxy.set_fault(Fault("hang"))
        async with Calls(case, http) as calls:
            call = asyncio.ensure_future(calls.operation(calls.operations[0]))
            await proxy.until_open()
            _ = call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await proxy.until_idle()

    async def test_no_secret_is_in_the_result_the_logs_or_a_representation(
        self, calls: Calls, operation: Operation, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        result = await operation.run(operation.context())
        shown = [repr(result), repr(calls.connector), repr(calls.connector.settings), caplog.text]
        if isinstance(result, ResourceMeta):
            shown.append(result.encode().decode())
        _check_silent(shown, _secrets(calls, proxy))

    @pytest.mark.parametrize("fault", ["refused", "forbidden", "lost", "malformed"])
    async def test_no_secret_is_in_an_error_or_its_log(
        self, calls: Calls, operation: Operation, proxy: FaultProxy, caplog: pytest.LogCaptureFixture, fault: str
    ) -> None:
        caplog.set_level(logging.DEBUG)
        faults = {
            "refused": calls.case.refused(operation.request, 401),
            "forbidden": calls.case.refused(operation.request, 403),
            "lost": Fault("lose", operation.request),
            "malformed": Fault("rewrite", operation.request, rewrite=lambda body: b"{not json"),
        }
        proxy.set_fault(faults[fault])
        shown: list[str] = []
        try:
            await operation.run(operation.context())
        except ConnectorError as error:  # with its causes: they go to the log
            shown += [repr(error), error.message, *traceback.format_exception(error)]
        _check_silent([*shown, caplog.text], _secrets(calls, proxy))

    async def test_a_secret_that_the_platform_repeats_is_hidden(
        self, calls: Calls, operation: Operation, proxy: FaultProxy
    ) -> None:
        """A gateway may show the request's own headers. The service redacts what ``ctx.secrets`` gave, and what the
        connector itself has it remember (:func:`connectors.secrets.remember`): a token that it was granted, say.
        """

        def echo(request: ProxiedRequest) -> bytes:
            sent = " ".join(request.headers.values())
            return calls.case.error_body(400).replace(b"asked for", sent.encode().replace(b'"', b"'"))

        proxy.set_fault(Fault("answer", operation.request, status=400, headers=calls.case.error_headers, body=echo))
        try:
            await operation.run(operation.context())
        except ConnectorError as error:
            _check_silent([redact(str(error))], _secrets(calls, proxy))

    async def test_a_hostile_task_is_refused_before_any_request(
        self, calls: Calls, case: AsyncCase | SyncCase, proxy: FaultProxy, foreign: ForeignHost
    ) -> None:
        name = calls.operations[0]
        for task in case.hostile_tasks(foreign.address):
            with pytest.raises((InvalidRequest, PermissionDenied)):
                await calls.call(name, task, calls.context(name))
            assert (proxy.requests, foreign.connections) == ([], 0), f"it followed {task!r}"


def _secrets(calls: Calls, proxy: FaultProxy) -> set[str]:
    """All that nobody may see."""
    sent = [each.headers.get("Authorization", "").rpartition(" ")[2] for each in proxy.requests]
    return {*calls.case.secrets.values(), *calls.case.secret_values, *sent}


def _check_silent(shown: Iterable[str], secrets: Iterable[str]) -> None:
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            for text in shown:
                assert secret not in text, "a secret is to be seen"
