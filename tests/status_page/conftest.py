from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from connectors.testing.fixtures import http, serve
from tests.status_page.browser import Tab, browsing, new_tab

__all__ = ["http", "serve"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browsing(tmp_path_factory.mktemp("browser")) as address:
        yield address


@pytest.fixture
async def tab(browser: str) -> AsyncIterator[Tab]:
    async with new_tab(browser) as opened:
        yield opened


@pytest.fixture(scope="session")
def keep() -> Callable[[str, bytes], None]:
    """Keeps a picture by its name, for people, in the folder that CI names at its end."""
    folder = Path(os.environ.get("SCREENSHOTS") or ROOT / "build" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, picture: bytes) -> None:
        (folder / f"status-page-{name}.png").write_bytes(picture)

    return write
