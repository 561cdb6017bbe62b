"""The words of a task, as its author writes them and as they arrive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from connectors import InvalidRequest
from connectors_http import WebhookConfig

URL = "https://api.example.com/orders"


def test_the_custom_of_a_config_is_read_as_the_same_config() -> None:
    config = WebhookConfig(
        url=f"{URL}/{{inputs.id}}",
        method="PUT",
        headers={"Authorization": "Bearer {secrets.token}"},
        data={"a": "{inputs.a}"},
        timeout=timedelta(seconds=5),
        show_url=True,
        expected_statuses=(200, "404-410"),
        outputs={"id": "/id"},
        idempotent=True,
    )
    read = WebhookConfig.of(config.to_custom())
    assert read.to_custom() == config.to_custom()
    assert (read.seconds, read.expects) == (5.0, (range(200, 201), range(404, 411)))


def test_the_custom_of_a_plain_call_can_be_run_by_flytes_own_connector() -> None:
    """It reads these names, and must find ``method``; see ``WebhookTask.get_custom`` of flytekit."""
    assert WebhookConfig(url=URL, timeout=3).to_custom() == {"url": URL, "method": "POST", "timeout_sec": 3}


def test_the_custom_of_flytes_own_task_is_read() -> None:
    custom = {
        "url": URL,
        "method": "GET",
        "headers": {},
        "data": {},
        "show_data": False,
        "show_url": True,
        "timeout_sec": 10,
    }
    assert WebhookConfig.of(custom) == WebhookConfig(url=URL, method="GET", show_url=True, timeout=10)


def test_what_is_null_has_its_default() -> None:
    assert WebhookConfig.of({"url": URL, "headers": None, "data": None}) == WebhookConfig(url=URL)


@pytest.mark.parametrize("more", [{"secrets": {"a": "b"}, "configs": {}}, {"dynamic_inputs": {"team": "str"}}])
def test_what_says_nothing_of_the_call_is_left_out(more: dict[str, Any]) -> None:
    assert WebhookConfig.of({"url": URL, **more}) == WebhookConfig(url=URL)


@pytest.mark.parametrize(
    ("custom", "text"),
    [
        ({"url": None}, "custom.url is missing"),
        ({"url": 5}, "custom.url is missing"),
        ({"url": "api.example.com"}, "custom.url: it must begin with https"),
        ({"url": "https://{inputs.host}/x"}, "custom.url: placeholders may stand in its path and its query alone"),
        ({"url": "https://a.{inputs.host}/x"}, "custom.url: placeholders may stand"),
        ({"url": "https://a.test:{inputs.port}/x"}, "custom.url: placeholders may stand"),
        ({"url": "{inputs.scheme}://a.test/x"}, "custom.url: placeholders may stand"),
        ({"url": "{inputs.url}"}, "custom.url: placeholders may stand"),
        ({"url": "https://a.test/{secrets.token}"}, "custom.url: secrets may stand in headers alone"),
        ({"url": "https://a.test/{input.x}"}, "custom.url: '{input.x}' names nothing"),
        ({"url": "https://u:p@a.test/"}, "custom.url: it must hold no user name"),
        ({"url": "https://a.test/\r\nHost: b"}, "custom.url: must be a URL without control characters"),
        ({"method": "TRACE"}, "custom.method: 'TRACE' must be one of"),
        ({"method": "GET\r\nX: y"}, "custom.method: "),
        ({"headers": ["a"]}, "custom.headers: must be a map"),
        ({"headers": {"a b": "c"}}, "custom.headers: 'a b' is not the name of a header"),
        ({"headers": {"a\r\nb": "c"}}, "is not the name of a header"),
        ({"headers": {"": "c"}}, "is not the name of a header"),
        ({"headers": {"A": 5}}, "custom.headers, A: must be a string"),
        ({"headers": {"Host": "b.test"}}, "custom.headers, Host: is not a task's to set"),
        ({"headers": {"transfer-encoding": "chunked"}}, "custom.headers, transfer-encoding: is not a task's to set"),
        ({"headers": {"A": "1", "a": "2"}}, "custom.headers, a: is there twice"),
        ({"headers": {"A": "{env.PATH}"}}, "custom.headers, A: '{env.PATH}' names nothing"),
        ({"data": {"a": ["{secrets.token}"]}}, r"custom.data: \{secrets.token\} may stand in headers alone"),
        ({"method": "GET", "data": "text"}, "custom.data: must be a map"),
        ({"method": "HEAD", "data": [1]}, "custom.data: must be a map"),
        ({"timeout_sec": 0}, "custom.timeout: must be a number of seconds above 0"),
        ({"timeout": True}, "custom.timeout: must be a number"),
        ({"timeout": "10"}, "custom.timeout: must be a number"),
        ({"timeout": 1, "timeout_sec": 1}, "say the same"),
        ({"show_data": "yes"}, "custom.show_data: must be true or false"),
        ({"show_url": 1}, "custom.show_url: must be true or false"),
        ({"idempotent": "yes"}, "custom.idempotent: must be true or false"),
        ({"expected_statuses": 200}, "custom.expected_statuses: must be a list"),
        ({"expected_statuses": []}, "custom.expected_statuses: must name at least one"),
        ({"expected_statuses": [99]}, "custom.expected_statuses: '99' must be a status"),
        ({"expected_statuses": ["300-200"]}, "custom.expected_statuses: '300-200' must be"),
        ({"expected_statuses": [True]}, "custom.expected_statuses: 'True' must be"),
        ({"outputs": {"x": "a"}}, "custom.outputs, x: must be a JSON pointer"),
        ({"outputs": {"x": "/~2"}}, "custom.outputs, x: must be a JSON pointer"),
        ({"outputs": {"info": "/a"}}, "custom.outputs, info: is the name of the whole answer"),
        ({"outputs": ["/a"]}, "custom.outputs: must be a map"),
        ({"body": {}}, "custom.body is not known; expected data, .*, timeout, timeout_sec, url"),
        (
            {"expected_status": 200},
            r"custom.expected_status is not known; did you mean expected_statuses\? expected data",
        ),
        ({"timeout_secs": 5}, r"custom.timeout_secs is not known; did you mean timeout_sec\?"),
    ],
)
def test_what_cannot_be_is_refused(custom: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        WebhookConfig.of({"url": URL, **custom})


def test_an_author_is_told_where_the_task_is_written() -> None:
    with pytest.raises(ValueError, match="method: 'TRACE' must be one of GET"):
        WebhookConfig(url=URL, method="TRACE")
