"""What OpenAI's errors become, and what its SDK's do."""

from __future__ import annotations

import asyncio
import gzip
import time
from email.utils import formatdate

import pytest
from aiohttp import web

from connectors import (
    ConnectorError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    PermissionDenied,
    RateLimited,
    Resource,
    Unauthenticated,
    Unavailable,
)
from connectors.testing.contexts import NewContext
from connectors.testing.faults import Fault, FaultProxy, ForeignHost
from connectors_openai import ChatGPTConnector, OpenAISettings
from plugins.openai.tests.conftest import chat_task
from plugins.openai.tests.fake_openai import KEY, FakeOpenAI

pytestmark = pytest.mark.anyio
CHAT = "/chat/completions"
ANSWER = b'{"created": 1, "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}'


async def ask(connector: ChatGPTConnector, new_context: NewContext, *, seconds: float = 30.0) -> Resource:
    return await connector.do(chat_task(), new_context(inputs={"message": "Say hello."}, seconds=seconds))


async def error_of(connector: ChatGPTConnector, new_context: NewContext, *, seconds: float = 30.0) -> ConnectorError:
    with pytest.raises(ConnectorError) as raised:
        await ask(connector, new_context, seconds=seconds)
    return raised.value


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((400, None), InvalidRequest),
        ((400, "billing_hard_limit_reached"), FailedPrecondition),
        ((401, "invalid_api_key"), Unauthenticated),
        ((403, "unsupported_country_region_territory"), PermissionDenied),
        ((401, "account_deactivated"), PermissionDenied),
        ((408, None), Unavailable),
        ((422, None), InvalidRequest),
        ((429, "rate_limit_exceeded"), RateLimited),
        ((429, "insufficient_quota"), FailedPrecondition),
        ((429, "billing_not_active"), FailedPrecondition),
        ((500, "server_error"), Unavailable),
        ((500, "insufficient_quota"), Unavailable),
        ((503, None), Unavailable),
        ((529, None), Unavailable),
    ],
)
async def test_status_and_code_make_the_error(
    chat: ChatGPTConnector,
    new_context: NewContext,
    openai: FakeOpenAI,
    answer: tuple[int, str | None],
    expected: type[ConnectorError],
) -> None:
    status, code = answer
    openai.refuse(CHAT, status, message="OpenAI's own words", code=code)
    error = await error_of(chat, new_context)
    assert type(error) is expected
    assert status == 401 or "OpenAI's own words" in error.message
    assert len(openai.calls) == 1, "the SDK tried again by itself"


async def test_a_spent_quota_is_told_by_its_type_too(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.refuse(CHAT, 429, type="insufficient_quota", headers={"Retry-After": "1"})
    error = await error_of(chat, new_context)
    assert isinstance(error, FailedPrecondition)
    assert not error.retryable


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_limit_says_how_long_to_wait(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI, form: str
) -> None:
    value = "40" if form == "seconds" else formatdate(time.time() + 40, usegmt=True)
    openai.refuse(CHAT, 429, headers={"Retry-After": value})
    error = await error_of(chat, new_context)
    assert isinstance(error, RateLimited)
    assert error.retry_after == pytest.approx(40, abs=3)


async def test_what_openai_shows_of_a_key_that_it_refuses_is_not_handed_on(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.keys.clear()
    error = await error_of(chat, new_context)
    assert error.message == "the chat: the API key was not accepted"


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad gateway</html>", b'{"error": "text"}', b"[]", b'{"error": {"message": 7}}']
)
async def test_an_error_of_another_shape_is_told_by_its_status(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI, body: bytes
) -> None:
    openai.answers[f"/v1{CHAT}"] = lambda: web.Response(status=502, body=body)
    error = await error_of(chat, new_context)
    assert isinstance(error, Unavailable)
    assert "502" in error.message


async def test_a_long_message_is_cut(chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI) -> None:
    openai.refuse(CHAT, 400, message="x" * 100_000)
    assert len((await error_of(chat, new_context)).message) < 2_200


async def test_what_a_restricted_key_may_not_do_is_named(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    message = "You have insufficient permissions. Missing scopes: model.request, api.model.read. Check your role."
    openai.refuse(CHAT, 401, message=message)
    error = await error_of(chat, new_context)
    assert isinstance(error, PermissionDenied)
    assert error.message == "the chat: the API key has no permission: model.request, api.model.read"


# --- where the key goes


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI, status: int
) -> None:
    async with ForeignHost() as foreign:
        place = f"http://{foreign.address}/v1{CHAT}"
        openai.answers[f"/v1{CHAT}"] = lambda: web.Response(status=status, headers={"Location": place})
        error = await error_of(chat, new_context)
        assert isinstance(error, Unavailable)
        assert foreign.connections == 0


async def test_requests_leave_through_the_proxy_of_the_environment(
    new_context: NewContext, openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultProxy(openai.url) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        connector = ChatGPTConnector(OpenAISettings("http://openai.example/v1", allow_http=True))
        await error_of(connector, new_context)
        await connector.aclose()
        assert [each.headers["Host"] for each in proxy.requests] == ["openai.example"]


# --- answers that are none


async def test_an_answer_without_end_is_none(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.answers[f"/v1{CHAT}"] = lambda: web.Response(body=b" " * 64 * 1024 * 1024 + ANSWER)
    assert isinstance(await error_of(chat, new_context), Unavailable)


async def test_an_answer_that_is_compressed_though_nobody_asked_is_none(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    headers, body = {"Content-Encoding": "gzip"}, gzip.compress(ANSWER)
    openai.answers[f"/v1{CHAT}"] = lambda: web.Response(body=body, headers=headers)
    assert isinstance(await error_of(chat, new_context), Unavailable)


@pytest.mark.parametrize("body", [b"[" * 100_000, ANSWER.replace(b"1", b"NaN"), b"\xff\xfe"])
async def test_json_that_is_none_is_no_answer(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI, body: bytes
) -> None:
    openai.answers[f"/v1{CHAT}"] = lambda: web.Response(body=body, content_type="application/json")
    assert isinstance(await error_of(chat, new_context), Unavailable)


# --- time


async def test_the_calls_deadline_ends_the_wait(new_context: NewContext, openai: FakeOpenAI) -> None:
    async with FaultProxy(openai.url) as proxy:
        proxy.set_fault(Fault("hang"))
        connector = ChatGPTConnector(OpenAISettings(f"{proxy.url}/v1"))
        assert isinstance(await error_of(connector, new_context, seconds=0.5), DeadlineExceeded)
        await connector.aclose()


@pytest.mark.parametrize("whose", ["the operator's", "the task's"])
async def test_a_nearer_bound_than_the_deadline_leaves_time_for_another_try(
    new_context: NewContext, openai: FakeOpenAI, whose: str
) -> None:
    operators = whose == "the operator's"
    async with FaultProxy(openai.url) as proxy:
        proxy.set_fault(Fault("hang"))
        connector = ChatGPTConnector(OpenAISettings(f"{proxy.url}/v1", answer_timeout=0.3 if operators else 60.0))
        config = {"model": "gpt-6"} if operators else {"model": "gpt-6", "timeout": 0.3}
        with pytest.raises(Unavailable, match=r"0\.3 s"):
            await connector.do(chat_task(chatgpt_config=config), new_context(inputs={"message": "Say hello."}))
        await connector.aclose()


async def test_a_server_that_is_not_there_is_unavailable(new_context: NewContext) -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    connector = ChatGPTConnector(OpenAISettings(f"http://127.0.0.1:{port}/v1"))
    error = await error_of(connector, new_context)
    await connector.aclose()
    assert isinstance(error, Unavailable)
    assert KEY not in repr(error)
