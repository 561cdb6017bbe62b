from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from tests.hostile.victim import Victim


@pytest.fixture(scope="module")
def file_limit() -> Iterator[int]:
    """As many descriptors as this process, and the server that it starts, may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def victim(file_limit: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    running = Victim(tmp_path_factory.mktemp("victim"))
    yield running
    running.close()
