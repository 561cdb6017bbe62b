"""What the README says of tasks in Python, done on an emulator that others wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors import HttpClient
from plugins.databricks.tests.test_local_runs import upload
from tests.local.readme import do_what_it_says


@pytest.mark.anyio
async def test_the_task_in_python_and_the_one_in_a_file_run_as_the_readme_says(
    minilake_url: str, http: HttpClient, tmp_path: Path
) -> None:
    days = tmp_path / "days"
    code = f"import sys\nassert sys.argv[1] == '--day'\nopen({str(days)!r}, 'a').write(sys.argv[2] + '\\n')"
    await upload(http, minilake_url, "/Shared/daily.py", code)
    settings = {"CONNECTORS_DATABRICKS__API_VERSION": "2.2", "WORKSPACE": minilake_url}
    place = {"https://example.cloud.databricks.com": "$WORKSPACE"}
    folder = tmp_path / "author"
    folder.mkdir()
    do_what_it_says("databricks", folder, settings=settings, in_place_of=place)
    assert days.read_text() == "2024-01-02\n" * 2
