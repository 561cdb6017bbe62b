"""Links of the READMEs, which no builder checks; those of the guide are checked where the site is built."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import ROOT

OF_PACKAGES = ["service/README.md", *sorted(str(each.relative_to(ROOT)) for each in ROOT.glob("plugins/*/README.md"))]
READMES = ["README.md", "ARCHITECTURE.md", *OF_PACKAGES]
ANYWHERE = ("https://", "http://")


def links(readme: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", (ROOT / readme).read_text("utf-8"))


@pytest.mark.parametrize("readme", READMES)
def test_every_file_that_is_linked_to_exists(readme: str) -> None:
    files = [link.partition("#")[0] for link in links(readme) if not link.startswith(ANYWHERE)]
    assert [file for file in files if not ((ROOT / readme).parent / file).exists()] == []


@pytest.mark.parametrize("readme", OF_PACKAGES)
def test_a_package_s_readme_links_to_nothing_that_is_not_published_with_it(readme: str) -> None:
    assert [link for link in links(readme) if not link.startswith(ANYWHERE)] == []
