"""What a plugin's README says of its tasks in Python, done as a page of the guide is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from tests.docs.blocks import ROOT
from tests.docs.walk import Walk

__all__ = ["do_what_it_says"]

_SECTION = re.compile(r"^## Run it locally\n.*?(?=^## )", re.MULTILINE | re.DOTALL)

_BEFORE = """```sh
. ./settings.sh
```

"""


def do_what_it_says(
    plugin: str,
    folder: Path,
    *,
    settings: Mapping[str, str] | None = None,
    in_place_of: Mapping[str, str] | None = None,
) -> None:
    """Do the section "Run it locally", from top to bottom.

    :param folder: an empty one. :param settings: variables of the environment that lead to a platform of the test's.
    :param in_place_of: what stands in the section, and what of the test's takes its place: no address 127.0.0.1,
        whose port a walk changes.
    """
    found = _SECTION.search((ROOT / "plugins" / plugin / "README.md").read_text("utf-8"))
    assert found is not None
    section = found[0]
    for old, new in (in_place_of or {}).items():
        assert old in section
        section = section.replace(old, new)
    variables = {"NO_PROXY": "127.0.0.1", **(settings or {})}
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())

    def no_fixture(name: str) -> str:
        raise AssertionError(f"a section has no fixture, and this one wants {name}")

    with Walk(f"plugins/{plugin}/README.md", _BEFORE + section, folder, no_fixture) as walk:
        # not as a block of the page: its ports are those of platforms that are there
        (folder / "package" / "settings.sh").write_text(exports, "utf-8")
        walk.run()
