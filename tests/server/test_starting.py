"""What is said of a store before and while it is used."""

from __future__ import annotations

import pytest

from connectors._server.starting import store_in_use


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:///data/a.db", "sqlite:///data/a.db"),
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("rediss://me:hunter2@cache.example.com:6380/1", "rediss://cache.example.com:6380/1"),
        ("redis://:hunter2@10.0.0.7", "redis://10.0.0.7"),
        ("redis://:hunt@r2@cache:6379/0", "redis://cache:6379/0"),
        ("redis://:hunt/r2@cache:6379/0", "redis://cache:6379/0"),
        ("redis://me:hunter2@[fd00::7]:6379/0", "redis://[fd00::7]:6379/0"),
        ("postgresql://me:hunter2@db:5432/connectors", "postgresql://db:5432/connectors"),
        ("postgresql://me@one:5432,two:5433/connectors", "postgresql://one:5432,two:5433/connectors"),
        ("postgresql://db/connectors?user=me&password=hunter2", "postgresql://db/connectors"),
        ("postgresql:///connectors?host=%2Frun", "postgresql:///connectors"),
        ("postgresql://%2Frun%2Fpg/connectors", "postgresql://%2Frun%2Fpg/connectors"),
    ],
)
def test_the_log_says_where_a_store_is_without_who_uses_it(url: str, shown: str) -> None:
    assert store_in_use(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunt?r2@cache:6379/0",
        "redis://:hunt#r2@cache/0?x=@",
        "redis://:hunter2",
        "redis://me:hunter2",
        "postgresql://db/connectors#hunter2",
        "postgresql://me:hunt?er2&x@db/connectors",
        "postgresql://db/x?password=hunt@er2",
        "postgresql://db/connectors password=hunter2",
    ],
)
def test_where_a_password_cannot_be_told_apart_only_the_kind_of_store_is_said(url: str) -> None:
    assert store_in_use(url) == f"{url.partition('://')[0]}://"
