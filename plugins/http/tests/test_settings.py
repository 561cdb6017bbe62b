"""What an operator may set."""

from __future__ import annotations

from typing import Any

import pytest

from connectors_http import WebhookSettings


def test_nothing_is_allowed_by_default() -> None:
    assert (WebhookSettings().host_rules, WebhookSettings().secret_rules) == ((), {})
    assert WebhookSettings().redirects == 0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"hosts": ("a.test", "b/c")}, "^hosts: 'b/c' must be a host"),
        ({"hosts": ("*",)}, r"^hosts: '\*' must be a host"),
        ({"private_networks": ("10.0.0.1/8",)}, "^private_networks: 10.0.0.1/8 has host bits set"),
        ({"private_networks": ("lan",)}, "^private_networks: 'lan'"),
        ({"secret_hosts": {"token": ("b/c",)}}, "^secret_hosts, token: 'b/c'"),
        ({"redirects": -1}, "^redirects: must be from 0 to 10"),
        ({"redirects": 11}, "^redirects: must be from 0 to 10"),
        ({"max_response_bytes": 1023}, "^max_response_bytes: must be from"),
        ({"max_response_bytes": 2**26 + 1}, "^max_response_bytes: must be from"),
        ({"longest_timeout": 0.0}, "^longest_timeout: must be above 0"),
        ({"longest_timeout": float("nan")}, "^longest_timeout: must be above 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        WebhookSettings(**given)
