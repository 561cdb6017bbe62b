"""Facts about what becomes of a platform's answers; the same for both kinds of connectors."""
# ruff: noqa: S101 - assert is how a test speaks

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from connectors.errors import ConnectorError, DeadlineExceeded, RateLimited, Unavailable
from connectors.models import Resource
from connectors.testing.contract._calls import Calls, Operation
from connectors.testing.contract._case import OperationName
from connectors.testing.faults import Fault, FaultProxy

__all__ = ["AnswerFacts"]

_MALFORMED = {
    "nothing": b"",
    "not JSON": b"{not json",
    "a page": b"<html><body>Sign in</body></html>",
    "a list": b"[1]",
    "another object": b'{"unexpected": {"shape": true}}',
    "null": b"null",
}
_SLACK = 5.0  # seconds that a weak machine may take to notice what is due


class AnswerFacts:
    """``operation`` is each of the connector's in turn."""

    @pytest.fixture
    async def operation(self, calls: Calls, proxy: FaultProxy, operation_name: OperationName) -> Operation:
        """Ready, with nothing seen by the proxy yet."""
        operation = await calls.operation(operation_name)
        proxy.requests.clear()
        return operation

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 502, 503])
    async def test_a_refusal_is_the_error_that_its_status_means(
        self, calls: Calls, operation: Operation, proxy: FaultProxy, status: int
    ) -> None:
        gateway = Fault("answer", operation.request, status=502, body=b"<html>Bad gateway</html>")
        proxy.set_fault(gateway if status == 502 else calls.case.refused(operation.request, status))
        expected, error = operation.errors[status], await _error_of(operation)
        assert proxy.seen(operation.request), f"{operation.name} sent no request that the case says it sends"
        if expected is None:
            assert error is None, f"{operation.name} is to be quiet at HTTP {status}"
        else:
            assert isinstance(error, expected), f"{operation.name} made of HTTP {status}: {error!r}"
            assert status < 500 or not error.proves_no_job, f"{error!r} says that there is no job, but there may be one"

    @pytest.mark.parametrize("form", ["seconds", "date"])
    async def test_the_pause_that_a_429_asks_for_is_handed_on(
        self, calls: Calls, operation: Operation, proxy: FaultProxy, form: str
    ) -> None:
        then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        proxy.set_fault(calls.case.refused(operation.request, 429, retry_after="90" if form == "seconds" else then))
        error = await _error_of(operation)
        if operation.errors[429] is None:
            assert error is None
            return
        assert isinstance(error, RateLimited), repr(error)
        assert error.retry_after is not None, "Retry-After was not read"
        assert 30 <= error.retry_after <= 90
        assert len(proxy.seen(operation.request)) == 1, "the connector sent the request again itself"

    async def test_a_lost_answer_is_an_error_that_proves_nothing(self, operation: Operation, proxy: FaultProxy) -> None:
        proxy.set_fault(Fault("lose", operation.request, committed=True))
        _check_unknown(operation, await _error_of(operation))

    async def test_a_cut_answer_is_an_error_that_proves_nothing(self, operation: Operation, proxy: FaultProxy) -> None:
        proxy.set_fault(Fault("cut", operation.request))
        error = await _error_of(operation)
        if operation.name == "delete" and error is None:
            return  # the head of the answer said that it was done
        _check_unknown(operation, error)

    @pytest.mark.parametrize("body", _MALFORMED.values(), ids=_MALFORMED)
    async def test_an_answer_that_is_none_ends_no_job_and_proves_nothing(
        self, calls: Calls, operation: Operation, proxy: FaultProxy, body: bytes
    ) -> None:
        proxy.set_fault(Fault("rewrite", operation.request, rewrite=lambda answer: body))
        result: Any = None
        try:
            result = await operation.run(operation.context())
        except ConnectorError as error:
            _check_unknown(operation, error)
            return
        assert proxy.seen(operation.request), f"{operation.name} sent no request that the case says it sends"
        if operation.name == "get":  # a state that is none may also be taken for an unknown one
            assert isinstance(result, Resource)
            assert not result.phase.is_terminal, f"the job is over, by an answer of {body!r}"
        elif operation.name != "delete" and not getattr(calls.case, "any_body", False):
            pytest.fail(f"{operation.name} made {result!r} of an answer of {body!r}")

    async def test_a_slow_answer_ends_with_the_calls_deadline(self, operation: Operation, proxy: FaultProxy) -> None:
        proxy.set_fault(Fault("hang", operation.request))
        began = asyncio.get_running_loop().time()
        error = None
        try:
            # the service would end the call at its deadline; it is the connector that is asked here
            async with asyncio.timeout(1.0 + _SLACK):
                error = await _error_of(operation, seconds=1.0)
        except TimeoutError:
            pytest.fail(f"{operation.name} went on after its deadline")
        _check_unknown(operation, error)
        assert asyncio.get_running_loop().time() - began >= 0.5, "it gave up long before its time was up"

    async def test_a_cancelled_call_leaves_no_open_request(self, operation: Operation, proxy: FaultProxy) -> None:
        proxy.set_fault(Fault("hang", operation.request))
        ctx = operation.context(seconds=2.0 if operation.is_blocking else 60.0)  # a thread ends with the deadline
        call = asyncio.ensure_future(operation.run(ctx))
        await proxy.until_open(operation.request)
        _ = call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        try:
            await proxy.until_idle(within=2.0 + _SLACK if operation.is_blocking else _SLACK)
        except TimeoutError:
            pytest.fail(f"{operation.name} was cancelled, and {proxy.in_flight} request(s) stayed open")


async def _error_of(operation: Operation, *, seconds: float = 30.0) -> ConnectorError | None:
    """What goes wrong; an error that is none of the project's is a bug, and goes through."""
    try:
        await operation.run(operation.context(seconds=seconds))
    except ConnectorError as error:
        return error
    return None


def _check_unknown(operation: Operation, error: ConnectorError | None) -> None:
    assert error is not None, f"{operation.name} has taken it for an answer"
    assert isinstance(error, Unavailable | DeadlineExceeded), f"{operation.name} knows no more than that: {error!r}"
    assert not error.proves_no_job, f"{error!r} says that there is no job, but there may be one"
