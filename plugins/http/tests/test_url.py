"""Whatever a value holds, it stays where the task put it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from hypothesis import assume, given
from hypothesis import strategies as st
from yarl import URL

from connectors_http._templates import Values
from connectors_http._url import UrlTemplate

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
HOSTILE = [
    "../..",
    "..%2f",
    "@evil.test/",
    "//evil.test",
    "?x=1",
    "#x",
    "a&b=c",
    "\\evil",
    "%2e%2e",
    "\r\nHost: x",
    ";x",
]


VALUES = st.one_of(st.sampled_from(HOSTILE), TEXT)


@given(VALUES)
def test_a_value_is_one_segment_of_the_path(value: str) -> None:
    assume(value not in {".", ".."})
    text = filled("https://a.test/x/{inputs.v}/y?z=1", value)
    parts = urlsplit(text)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "a.test", "z=1", "")
    assert [unquote(segment) for segment in parts.path.split("/")] == ["", "x", value, "y"]
    assert as_the_client_reads_it(text) == ("a.test", ["", "x", value, "y"])


@given(VALUES)
def test_a_value_is_one_value_of_the_query(value: str) -> None:
    text = filled("https://a.test/x?v={inputs.v}&z=1", value)
    assert as_the_client_reads_it(text) == ("a.test", ["", "x"])
    assert list(URL(text).query.items()) == [("v", value), ("z", "1")]


def filled(template: str, value: str) -> str:
    return str(UrlTemplate.parse(template).filled(Values(lambda: {"v": value}, {})))


def as_the_client_reads_it(text: str) -> tuple[str | None, list[str]]:
    """The host, and the segments of the path, of the URL object that aiohttp sends."""
    url = URL(text)
    assert not url.fragment
    return url.host, [unquote(segment) for segment in url.raw_path.split("/")]
