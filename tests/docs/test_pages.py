"""Every page of the guide, and README.md, done: see tests/docs/walk.py for how a page is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.docs.walk import Walk
from tests.emulators.fixtures import crucible_url

__all__ = ["crucible_url"]

PAGES = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize("page", PAGES)
def test_what_the_page_says_is_so(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with Walk(page, (ROOT / page).read_text("utf-8"), tmp_path, request.getfixturevalue) as walk:
        walk.run()
