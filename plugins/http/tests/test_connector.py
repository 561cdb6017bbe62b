"""What a call sends, and what its answer becomes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors import (
    Blob,
    DeadlineExceeded,
    InvalidRequest,
    LiteralType,
    Phase,
    RateLimited,
    StructuredDataset,
    Unavailable,
)
from connectors_http import WebhookSettings
from plugins.http.tests.conftest import Call
from plugins.http.tests.fake_service import FakeService, Reply

pytestmark = pytest.mark.anyio
Allowing = Callable[..., WebhookSettings]
KEY = "8d5cf6a3-0f4c-5b0e-9c39-0a2a95644d2e"


# --- the request


async def test_a_task_of_the_references_own_is_a_post_of_its_data_as_json(call: Call, service: FakeService) -> None:
    await call(
        url=f"{service.url}/hooks",
        method="POST",
        headers={"X-Team": "sales"},
        data={"text": "hello"},
        show_data=False,
        show_url=False,
        timeout_sec=10,
    )
    sent = service.last
    assert (sent.method, sent.target, sent.body) == ("POST", "/hooks", b'{"text":"hello"}')
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["X-Team"] == "sales"


async def test_a_post_without_data_sends_an_empty_object_as_the_reference_does(
    call: Call, service: FakeService
) -> None:
    await call()
    assert service.last.body == b"{}"


async def test_the_data_of_a_get_are_its_parameters(call: Call, service: FakeService) -> None:
    data = {"q": "a b&c", "page": 2, "deep": True, "none": None, "tag": ["x", "y"]}
    await call(url=f"{service.url}/items?lang=en", method="GET", data=data)
    assert service.last.target == "/items?lang=en&q=a+b%26c&page=2&deep=true&none=&tag=x&tag=y"
    assert service.last.body == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "post"])
async def test_the_method_is_the_tasks(call: Call, service: FakeService, method: str) -> None:
    await call(method=method)
    assert service.last.method == method.upper()


async def test_a_form_is_sent_where_the_content_type_says_so(call: Call, service: FakeService) -> None:
    await call(headers={"Content-Type": "application/x-www-form-urlencoded"}, data={"a": "1&2", "b": [True, 3]})
    assert service.last.body == b"a=1%262&b=true&b=3"


async def test_text_is_sent_as_text(call: Call, service: FakeService) -> None:
    await call(data="<order id='{inputs.n}'/>", headers={"content-type": "application/xml"}, inputs={"n": 7})
    assert service.last.body == b"<order id='7'/>"
    assert service.last.headers.getall("Content-Type") == ["application/xml"]  # type: ignore[attr-defined]
    await call(data="plain")
    assert service.last.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_an_empty_text_is_no_body(call: Call, service: FakeService) -> None:
    await call(data="")
    assert service.last.body == b""


async def test_an_input_can_be_the_whole_body(call: Call, service: FakeService) -> None:
    declared = {"order": LiteralType("struct")}
    await call(data="{inputs.order}", inputs={"order": {"id": 1, "lines": [{"n": 2}]}}, declared=declared)
    assert json.loads(service.last.body) == {"id": 1, "lines": [{"n": 2}]}


async def test_values_keep_their_types_in_json(call: Call, service: FakeService) -> None:
    inputs = {
        "i": 2**53 + 1,
        "f": 0.5,
        "b": True,
        "s": "é",
        "l": [1, None],
        "m": {"k": 1},
        "none": None,
        "when": datetime(2024, 1, 2, tzinfo=UTC),
        "long": timedelta(minutes=1),
        "raw": b"\x00\xff",
        "file": Blob("s3://b/f"),
        "table": StructuredDataset("bq://p:d.t"),
    }
    await call(data={name: f"{{inputs.{name}}}" for name in inputs}, inputs=inputs)
    assert json.loads(service.last.body) == {
        **inputs,
        "when": "2024-01-02T00:00:00+00:00",
        "long": 60.0,
        "raw": "AP8=",
        "file": "s3://b/f",
        "table": "bq://p:d.t",
    }


async def test_a_struct_within_the_data_is_json_text_as_the_reference_sends_it(
    call: Call, service: FakeService
) -> None:
    await call(
        data={"payload": "{inputs.d}", "one": "{inputs.d.k}"},
        inputs={"d": {"k": 1}},
        declared={"d": LiteralType("struct")},
    )
    assert json.loads(service.last.body) == {"payload": '{"k": 1}', "one": 1}


async def test_values_stand_within_a_text(call: Call, service: FakeService) -> None:
    await call(data={"t": "{inputs.a}, {inputs.b}, {inputs.l}"}, inputs={"a": 1.5, "b": True, "l": ["x"]})
    assert json.loads(service.last.body) == {"t": '1.5, True, ["x"]'}


async def test_a_value_that_looks_like_a_placeholder_is_text(call: Call, service: FakeService) -> None:
    await call(data={"t": "{inputs.a} {inputs.b}"}, inputs={"a": "{inputs.b}", "b": "{secrets.x}"})
    assert json.loads(service.last.body) == {"t": "{inputs.b} {secrets.x}"}


async def test_values_in_a_url_are_percent_encoded(call: Call, service: FakeService) -> None:
    inputs = {"id": "a/b?c#d%2e é", "q": "1&admin=true#x"}
    await call(url=f"{service.url}/items/{{inputs.id}}/x?q={{inputs.q}}", method="GET", inputs=inputs)
    assert service.last.target == "/items/a%2Fb%3Fc%23d%252e%20%C3%A9/x?q=1%26admin%3Dtrue%23x"


async def test_the_urls_own_characters_are_encoded_where_they_must_be(call: Call, service: FakeService) -> None:
    await call(url=f"{service.url}/a b/é?x=[1]#part", method="GET")
    assert service.last.target == "/a%20b/%C3%A9?x=%5B1%5D"


@pytest.mark.parametrize("value", ["", ".", ".."])
async def test_a_value_takes_no_segment_from_the_path(call: Call, service: FakeService, value: str) -> None:
    with pytest.raises(InvalidRequest, match="is empty"):
        await call(url=f"{service.url}/users/{{inputs.id}}/data", inputs={"id": value})
    assert service.received == []


async def test_dots_of_value_and_template_together_take_no_segment_either(call: Call, service: FakeService) -> None:
    with pytest.raises(InvalidRequest, match="is empty"):
        await call(url=f"{service.url}/users/.{{inputs.id}}/data", inputs={"id": "."})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{inputs.y}", "no input is named 'y'"),
        ("{inputs.x.__class__}", "has no key '__class__'"),
        ("{inputs.x.__class__.__mro__}", "has no key '__class__'"),
        ("{inputs.x!r}", "no input is named 'x!r'"),
        ("{inputs.x:>10}", "no input is named 'x:>10'"),
        ("{inputs.x[0]}", r"no input is named 'x\[0\]'"),
        ("{input.x}", "names nothing"),
        ("{os.environ}", "names nothing"),
        ("a {inputs.none}", "is None, which has no text"),
        ("{inputs.nan}", "is nan, which has no form in JSON"),
    ],
)
async def test_a_placeholder_names_an_input_and_can_do_no_more(
    call: Call, service: FakeService, template: str, text: str
) -> None:
    with pytest.raises(InvalidRequest, match=text):
        await call(data={"v": template}, inputs={"x": "text", "none": None, "nan": float("nan")})
    assert service.received == []


async def test_other_braces_stay_as_they_are(call: Call, service: FakeService) -> None:
    texts = ["{x}", "{}", '{"a.b": 1.5}', "{{inputs.x}}", "{inputs}", "{"]
    await call(data={"t": texts}, inputs={"x": 1})
    assert json.loads(service.last.body) == {"t": ["{x}", "{}", '{"a.b": 1.5}', "{1}", "{inputs}", "{"]}


@pytest.mark.parametrize("value", ["a\r\nX-Admin: yes", "a\nb", "a\x00b", "a\rb"])
async def test_a_value_adds_no_header(call: Call, service: FakeService, value: str) -> None:
    with pytest.raises(InvalidRequest, match="headers, X-Name: a line break"):
        await call(headers={"X-Name": "{inputs.v}"}, inputs={"v": value})
    assert service.received == []


async def test_json_is_not_put_together_from_text_and_values(call: Call, service: FakeService) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    with pytest.raises(InvalidRequest, match="write JSON as an object"):
        await call(data='{"name": "{inputs.v}"}', headers=headers, inputs={"v": 'x", "admin": "yes'})
    await call(data="{inputs.v}", headers=headers, inputs={"v": '{"whole": 1}'})
    assert service.last.body == b'{"whole": 1}'


async def test_a_post_carries_the_idempotency_key(call: Call, service: FakeService) -> None:
    await call(key=KEY)
    assert service.last.headers["Idempotency-Key"] == KEY


async def test_the_tasks_own_idempotency_key_stays(call: Call, service: FakeService) -> None:
    await call(key=KEY, headers={"idempotency-key": "order-{inputs.n}"}, inputs={"n": 7})
    assert service.last.headers.getall("Idempotency-Key") == ["order-7"]  # type: ignore[attr-defined]


async def test_a_get_carries_no_idempotency_key(call: Call, service: FakeService) -> None:
    await call(method="GET")
    assert "Idempotency-Key" not in service.last.headers


# --- the answer


async def test_the_output_info_has_what_the_references_has(call: Call, service: FakeService) -> None:
    service.will_say(Reply(body=b"ok", headers={"Content-Type": "text/plain"}))
    result = await call(data={"a": "{inputs.x}"}, inputs={"x": 1}, show_data=True, show_url=True)
    assert result.phase is Phase.SUCCEEDED
    assert result.outputs == {
        "info": {"status_code": 200, "response_data": "ok", "input_data": {"a": 1}, "url": f"{service.url}/"}
    }


async def test_data_and_url_are_shown_only_where_the_task_says_so(call: Call) -> None:
    result = await call(data={"a": 1})
    assert result.outputs == {"info": {"status_code": 200, "response_data": ""}}


async def test_an_answer_that_says_it_is_json_is_parsed_too(call: Call, service: FakeService) -> None:
    service.will_say(Reply(body=b'{"a": [1]}', headers={"Content-Type": "application/problem+json; charset=utf-8"}))
    result = await call()
    assert result.outputs is not None
    assert result.outputs["info"]["response_data"] == '{"a": [1]}'
    assert result.outputs["info"]["response_json"] == {"a": [1]}


@pytest.mark.parametrize(
    "body",
    [b"{not json", b"", b"NaN", b'"\\ud800"', b"[" * 60 + b"]" * 60, b"[" * 100_000, b"[99999999999999999999]"],
    ids=["cut", "empty", "NaN", "half a surrogate", "deep", "deeper", "beyond 64 bits"],
)
async def test_json_that_no_output_can_hold_is_handed_on_as_text_alone(
    call: Call, service: FakeService, body: bytes
) -> None:
    service.will_say(Reply(body=body, headers={"Content-Type": "application/json"}))
    result = await call()
    assert result.outputs == {"info": {"status_code": 200, "response_data": body.decode()}}


async def test_an_answer_is_read_in_its_own_charset(call: Call, service: FakeService) -> None:
    service.will_say(
        Reply(body=b"\xe9", headers={"Content-Type": "text/plain; charset=ISO-8859-1"}),
        Reply(body=b"\xe9", headers={"Content-Type": "text/plain; charset=unicode_escape"}),
    )
    texts = [(await call()).outputs or {} for _ in range(2)]
    assert [each["info"]["response_data"] for each in texts] == ["é", "\ufffd"]


async def test_outputs_are_taken_from_the_answers_json(call: Call, service: FakeService) -> None:
    service.will_say(Reply.of({"order": {"id": 7, "lines": [{"a/b": 1.5}]}}))
    declared = {"id": LiteralType("integer"), "first": LiteralType("float")}
    result = await call(outputs={"id": "/order/id", "first": "/order/lines/0/a~1b"}, declared_outputs=declared)
    assert result.outputs == {"id": 7, "first": 1.5}


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply.of({"a": [1]}), "nothing at /a/1"),
        (Reply.of({"a": 5}), "nothing at /a/1"),
        (Reply(body=b'{"a": [1, 2]}', headers={"Content-Type": "text/html"}), "is not JSON"),
    ],
)
async def test_an_answer_without_what_an_output_needs_fails_the_task(
    call: Call, service: FakeService, reply: Reply, text: str
) -> None:
    service.will_say(reply)
    result = await call(outputs={"x": "/a/1"})
    assert result.phase is Phase.FAILED
    assert "the output 'x'" in result.message
    assert text in result.message


async def test_a_status_that_is_not_expected_fails_the_task(call: Call, service: FakeService) -> None:
    service.will_say(Reply(404, b"no such order"))
    result = await call()
    assert (result.phase, result.message) == (Phase.FAILED, f"{service.url} answered HTTP 404: no such order")
    assert result.error is not None
    assert result.error.code == "HTTP_404"
    assert result.custom_info == {"status_code": 404, "method": "POST", "host": service.url, "redirects": 0}


async def test_the_expected_statuses_are_the_tasks(call: Call, service: FakeService) -> None:
    service.will_say(Reply(404), Reply(429), Reply(503), Reply(200))
    phases = [(await call(expected_statuses=[404, "429 - 503"])).phase for _ in range(4)]
    assert phases == [Phase.SUCCEEDED] * 3 + [Phase.FAILED]


async def test_a_long_answer_is_cut_in_a_message(call: Call, service: FakeService) -> None:
    service.will_say(Reply(400, b"x" * 5000))
    result = await call()
    assert result.message.endswith(f": {'x' * 2000} …")


# --- what may be sent again


async def test_a_limit_is_handed_on_to_be_waited_for(call: Call, service: FakeService) -> None:
    service.will_say(Reply(429, headers={"Retry-After": "7"}))
    with pytest.raises(RateLimited, match="HTTP 429") as limited:
        await call()
    assert limited.value.retry_after == 7


async def test_a_post_that_was_refused_for_now_may_be_sent_again(call: Call, service: FakeService) -> None:
    service.will_say(Reply(503, headers={"Retry-After": "3"}))
    with pytest.raises(Unavailable) as refused:
        await call()
    assert (refused.value.retryable, refused.value.retry_after) == (True, 3)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_a_post_that_may_have_been_carried_out_is_not_sent_again(
    call: Call, service: FakeService, status: int
) -> None:
    service.will_say(Reply(status))
    with pytest.raises(Unavailable, match="may have carried the POST out") as lost:
        await call()
    assert not lost.value.retryable
    assert not lost.value.proves_no_job


@pytest.mark.parametrize("custom", [{"method": "GET"}, {"method": "PUT"}, {"method": "POST", "idempotent": True}])
@pytest.mark.parametrize("reply", [Reply(500), Reply(503), Reply(hangs_up=True)], ids=["500", "503", "lost"])
async def test_a_call_that_does_no_harm_twice_may_be_sent_again(
    call: Call, service: FakeService, custom: dict[str, Any], reply: Reply
) -> None:
    service.will_say(reply, reply)  # aiohttp itself sends such a request again, once, where a connection breaks
    with pytest.raises(Unavailable) as fault:
        await call(**custom)
    assert fault.value.retryable


@pytest.mark.parametrize("custom", [{"method": "POST"}, {"method": "PATCH"}])
async def test_a_lost_answer_of_another_call_is_not_asked_for_again(
    call: Call, service: FakeService, custom: dict[str, Any]
) -> None:
    service.will_say(Reply(hangs_up=True))
    with pytest.raises(Unavailable) as lost:
        await call(**custom)
    assert not lost.value.retryable
    assert not lost.value.proves_no_job
    assert len(service.received) == 1


async def test_a_post_that_nobody_listens_to_may_be_sent_again(call: Call, allowing: Allowing) -> None:
    async with FakeService().serving() as gone:
        settings = allowing(gone)
    with pytest.raises(Unavailable, match="could not be reached") as unreachable:
        await call(url=gone.url, settings=settings)
    assert unreachable.value.retryable


async def test_a_post_to_a_name_that_is_not_found_may_be_sent_again(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    settings = WebhookSettings(hosts=("http://missing.invalid",))
    with pytest.raises(Unavailable, match="could not be reached") as unreachable:
        await call(url="http://missing.invalid/", settings=settings)
    assert unreachable.value.retryable


# --- limits


async def test_an_answer_over_the_limit_is_an_error(call: Call, service: FakeService, allowing: Allowing) -> None:
    service.will_say(Reply(body=b"x" * 2000))
    with pytest.raises(Unavailable, match="more than 1024 bytes"):
        await call(settings=allowing(service, max_response_bytes=1024))


@pytest.mark.parametrize("custom", [{"timeout_sec": 0.2}, {"timeout": 0.2}, {}])
async def test_a_call_ends_with_the_tasks_time_or_its_own(call: Call, service: FakeService, custom: Any) -> None:
    service.will_say(Reply(hangs=True))
    with pytest.raises(DeadlineExceeded, match=r"within 0\.[12]"):
        await call(**custom, seconds=30.0 if custom else 0.2)
