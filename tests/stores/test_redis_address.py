"""A Redis store's URL: what it may say, and that no message repeats it. No server is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from connectors._stores import open_store
from connectors._stores.redis_address import RedisAddress, parse_address

SECRET = "5ecr3t-w0rd"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", RedisAddress("cache")),
        ("redis://cache:7000/3", RedisAddress("cache", 7000, 3)),
        ("redis://cache/", RedisAddress("cache")),
        ("redis://[::1]:7000", RedisAddress("::1", 7000)),
        ("redis://:p%40ss%2F@cache", RedisAddress("cache", password="p@ss/")),
        ("redis://us%20er:pass@cache", RedisAddress("cache", username="us er", password="pass")),
        ("rediss://cache", RedisAddress("cache", tls=True)),
        (
            "rediss://cache?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/etc/me.pem&ssl_keyfile=/etc/me.key",
            RedisAddress(
                "cache", tls=True, ca_file="/etc/ca.pem", certificate_file="/etc/me.pem", key_file="/etc/me.key"
            ),
        ),
    ],
)
def test_a_url_says_where_the_server_is_and_who_asks(url: str, address: RedisAddress) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@",
        f"redis://:{SECRET}@cache:port",
        f"redis://:{SECRET}@cache:99999",
        f"redis://:{SECRET}@cache/name",
        f"redis://:{SECRET}@cache/-1",
        f"redis://:{SECRET}@cache/1/2",
        f"redis://:{SECRET}@cache#part",
        f"redis://:{SECRET}/@cache",
        f"redis://:#{SECRET}@cache",
        f"redis://:?{SECRET}@cache",
        f"redis://:[{SECRET}@cache",
        f"redis://cache?password={SECRET}",
        f"redis://cache?ssl_ca_certs={SECRET}",
        "rediss://cache?ssl_ca_certs=",
    ],
)
def test_a_url_that_is_not_understood_is_refused_and_nothing_of_it_is_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="Redis store") as caught:
        open_store(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_address_is_written_without_its_credentials() -> None:
    address = parse_address(f"rediss://someone:{SECRET}@[::1]:7000/3")
    assert str(address) == "[::1]:7000/3"
    assert SECRET not in repr(address)


def test_where_redis_py_is_missing_the_message_says_what_to_install() -> None:
    program = """
import sys
sys.modules["redis"] = None  # as if it were not installed
from connectors._stores import open_store
try:
    open_store("redis://cache")
except ValueError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip().endswith("pip install 'connectors-service[redis]'")
