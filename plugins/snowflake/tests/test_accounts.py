"""Account identifiers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import InvalidRequest
from connectors_snowflake._accounts import Account, folded


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("MyOrg-My_Account", "myorg-my-account.snowflakecomputing.com"),
        ("xy12345", "xy12345.snowflakecomputing.com"),
        ("xy12345.east-us-2.azure", "xy12345.east-us-2.azure.snowflakecomputing.com"),
        ("xy12345.us-east-1.privatelink", "xy12345.us-east-1.privatelink.snowflakecomputing.com"),
        ("xy12345.cn-northwest-1.aws", "xy12345.cn-northwest-1.aws.snowflakecomputing.cn"),
    ],
)
def test_an_account_has_its_host(name: str, host: str) -> None:
    assert Account.of(name).host == host


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        "a-",
        ".a",
        "a.",
        "a..b",
        "a/b",
        "a@b",
        "a:1",
        "a b",
        "a\n",
        "a?b",
        "a#b",
        "ä",
        "a" * 64,
        "a.b.c.d.e",
        "example-main.snowflakecomputing.com",
    ],
)
def test_what_is_no_account_forms_no_host(name: str) -> None:
    with pytest.raises(InvalidRequest, match="account"):
        Account.of(name)


@given(st.text(max_size=30))
def test_a_host_is_always_snowflakes(name: str) -> None:
    try:
        host = Account.of(name).host
    except InvalidRequest:
        return
    assert host.endswith((".snowflakecomputing.com", ".snowflakecomputing.cn"))
    assert host.replace(".", "").replace("-", "").isalnum()
    assert host.isascii()


@pytest.mark.parametrize(
    ("name", "in_tokens"),
    [
        ("myorg-my_account", "MYORG-MY_ACCOUNT"),
        ("xy12345.east-us-2.azure", "XY12345"),
        ("my-acct-x1.global", "MY-ACCT"),
    ],
)
def test_a_token_names_the_account_without_its_region(name: str, in_tokens: str) -> None:
    assert Account.of(name).in_tokens == in_tokens


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("myorg-main", "myorg/main"),
        ("xy12345", "us-west-2/xy12345"),
        ("xy12345.east-us-2.azure", "east-us-2.azure/xy12345"),
        ("myorg-main.privatelink", "myorg/main"),
    ],
)
def test_a_querys_page_is_in_snowsight(name: str, place: str) -> None:
    page = Account.of(name).query_page("01b2-3")
    assert page == f"https://app.snowflake.com/{place}/#/compute/history/queries/01b2-3/detail"


@pytest.mark.parametrize(
    ("identifier", "kept"), [("sales", "SALES"), ('"sales"', "sales"), ('"a""b"', 'a"b'), ('"', '"'), ("a$1", "A$1")]
)
def test_an_identifier_is_kept_in_capitals_but_for_one_in_quotes(identifier: str, kept: str) -> None:
    assert folded(identifier) == kept
