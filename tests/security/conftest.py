from __future__ import annotations

import asyncio

import pytest

from tests.security.scene import Evidence, played


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What one server said in all its calls."""
    return asyncio.run(played(tmp_path_factory.mktemp("scene")))
