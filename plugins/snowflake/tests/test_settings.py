"""What an operator may set."""

from __future__ import annotations

from typing import Any

import pytest

from connectors_snowflake import SnowflakeSettings
from connectors_snowflake._accounts import Account


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"accounts": ("a/b",)}, "accounts"),
        ({"accounts": ("example-main.snowflakecomputing.com",)}, "leave '.snowflakecomputing.com' out"),
        ({"endpoint": "http://snowflake.example"}, "must be https"),
        ({"endpoint": "snowflake.example"}, "is not a URL"),
        ({"endpoint": "https://user@snowflake.example"}, "is not a URL"),
        ({"endpoint": "https://snowflake.example?x=1"}, "is not a URL"),
        ({"request_timeout": 0.0}, "above 0"),
        ({"request_timeout": float("nan")}, "above 0"),
    ],
)
def test_a_value_out_of_its_range_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SnowflakeSettings(**values)


@pytest.mark.parametrize("endpoint", ["https://snowflake.example/", "http://127.0.0.1:8080", "http://localhost:1"])
def test_an_endpoint_is_https_or_this_machine(endpoint: str) -> None:
    assert SnowflakeSettings(endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    ("listed", "name", "is_listed"),
    [
        (("myorg-my_account",), "MYORG-my-account", True),
        (("myorg-main", "xy12345.eu-west-1"), "xy12345.eu-west-1", True),
        (("xy12345",), "xy12345.eu-west-1", False),
        (("*",), "anything", True),
        ((), "anything", False),
    ],
)
def test_accounts_are_compared_by_where_they_are(listed: tuple[str, ...], name: str, is_listed: bool) -> None:
    assert SnowflakeSettings(accounts=listed).lists(Account.of(name)) is is_listed
