"""A secret that was handed out is taken out of what is said, in whatever form it comes back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from connectors.secrets import redact, remember

SECRET = 'invented/of+test"redaction\\9f83?'


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        lambda text: quote(text, safe=""),
        lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
        lambda text: base64.b64encode(f"some:{text}:more".encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    ],
    ids=["as it is", "repr", "JSON", "URL", "base64 after a user", "base64 in the middle", "base64url"],
)
def test_a_form_is_taken_out(write: Callable[[str], str]) -> None:
    remember(SECRET)
    told = redact(f"before {write(SECRET)} after")
    assert "[secret]" in told
    assert told.startswith("before ")
    assert told.endswith(" after")
    assert write(SECRET)[6:-6] not in told


def test_a_short_value_is_not_looked_for_in_base64() -> None:
    remember("default")
    text = base64.b64encode(b"default").decode()
    assert redact(text) == text
