"""One emulator per session, for every test that asks for it.

What an emulator holds is shared by those tests: each uses names of its own (job ids, datasets).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.emulators import (
    CRUCIBLE,
    LLMOCK,
    LOCAL_BIGQUERY,
    MINILAKE,
    MOTO,
    SNOWDUCK,
    EmulatorUnavailable,
    Recipe,
    running,
)

__all__ = ["crucible_url", "llmock_url", "local_bigquery_url", "minilake_url", "s3_url", "snowduck_url"]


def _url(recipe: Recipe) -> Iterator[str]:
    try:
        with running(recipe) as emulator:
            yield emulator.url
    except EmulatorUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def crucible_url() -> Iterator[str]:
    """A small BigQuery."""
    yield from _url(CRUCIBLE)


@pytest.fixture(scope="session")
def local_bigquery_url() -> Iterator[str]:
    """A larger BigQuery; it needs Python 3.13."""
    yield from _url(LOCAL_BIGQUERY)


@pytest.fixture(scope="session")
def llmock_url() -> Iterator[str]:
    """An OpenAI. Its journal and its scenarios are one for all: whoever scripts faults resets it first."""
    yield from _url(LLMOCK)


@pytest.fixture(scope="session")
def minilake_url() -> Iterator[str]:
    """A Databricks, whose job runs are processes of this machine."""
    yield from _url(MINILAKE)


@pytest.fixture(scope="session")
def snowduck_url() -> Iterator[str]:
    """A Snowflake, whose statements run at once, or not at all."""
    yield from _url(SNOWDUCK)


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 without buckets."""
    yield from _url(MOTO)
