"""What the tests share: the test kit's fixtures, and Acme's stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from connectors.testing.fixtures import anyio_backend as anyio_backend
from connectors.testing.fixtures import serve as serve

from tests.fake_acme import FakeAcme


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeAcme]:
    async with FakeAcme() as fake:
        monkeypatch.setenv("ACME_TOKEN", fake.token)
        yield fake
