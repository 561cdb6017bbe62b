"""The operator's list of hosts, and what is compared with it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from connectors_http._hosts import HostRule, Origin, listed, origin_of

ALLOWED = [
    ("api.example.com", "https://api.example.com/a"),
    ("api.example.com", "https://API.example.COM./a"),
    ("api.example.com", "https://api.example.com:443/a"),
    ("https://api.example.com", "https://api.example.com/a"),
    ("api.example.com:8443", "https://api.example.com:8443/a"),
    ("http://api.example.com", "http://api.example.com/a"),
    ("*.example.com", "https://a.b.example.com/a"),
    ("http://*.example.com:8080", "http://a.example.com:8080/a"),
    ("10.0.0.5", "https://10.0.0.5/"),
    ("http://[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080/"),
]
REFUSED = [
    ("api.example.com", "http://api.example.com/a"),
    ("http://api.example.com", "https://api.example.com/a"),
    ("api.example.com", "https://api.example.com:8443/a"),
    ("api.example.com:8443", "https://api.example.com/a"),
    ("api.example.com", "https://a.api.example.com/"),
    ("*.example.com", "https://example.com/"),
    ("*.example.com", "https://badexample.com/"),
    ("example.com", "https://example.com.evil.test/"),
    ("api.example.com", "https://apiXexample.com/"),
]
NO_RULES = [
    "",
    "*",
    "*.",
    "ftp://a",
    "https://",
    "a/b",
    "a?b",
    "a b",
    "user@a",
    "*.10.0.0.1",
    "a:0",
    "a:70000",
    "é.test",
]
NO_ORIGINS = [
    "ftp://a.test/",
    "//a.test/",
    "a.test",
    "https:///a",
    "https://user@a.test/",
    "https://user:password@a.test/",
    "https://a.test@b.test/",
    "https://a.test\\@b.test/",
    "https://a.test:x/",
    "https://a.test:0/",
    "https://a.test:99999/",
    "https://127.1/",
    "https://2130706433/",
    "https://0177.0.0.1/",
    "https://é.test/",
    "https://a%2etest/",
    "https://[::1/",
    "https://[fe80::1%25eth0]/",
    "https://[::1]x/",
]


@pytest.mark.parametrize(("rule", "url"), ALLOWED)
def test_a_rule_admits(rule: str, url: str) -> None:
    assert listed([HostRule.parse("other.test"), HostRule.parse(rule)], origin_of(urlsplit(url)))


@pytest.mark.parametrize(("rule", "url"), REFUSED)
def test_a_rule_does_not_admit(rule: str, url: str) -> None:
    assert not listed([HostRule.parse(rule)], origin_of(urlsplit(url)))


def test_no_rule_admits_nothing() -> None:
    assert not listed([], Origin("https", "a.test", 443))


@pytest.mark.parametrize("text", NO_RULES)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a host such as"):
        HostRule.parse(text)


@pytest.mark.parametrize("url", NO_ORIGINS)
def test_a_url_that_programs_read_differently_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|is not|Invalid IPv6"):
        origin_of(urlsplit(url))


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="no password") as refused:
        origin_of(urlsplit("https://user:invented-password@a.test/"))
    assert "invented-password" not in str(refused.value)


@pytest.mark.parametrize("text", ["https://a.test", "http://a.test:8080", "http://[::1]:81", "https://[2001:db8::1]"])
def test_an_origin_is_written_as_urls_are(text: str) -> None:
    assert str(origin_of(urlsplit(text))) == text
