"""What the README says of tasks in Python, done on an emulator that others wrote."""

from __future__ import annotations

from pathlib import Path

from tests.local.readme import do_what_it_says


def test_the_task_in_python_and_the_one_in_a_file_run_as_the_readme_says(
    local_bigquery_url: str, tmp_path: Path
) -> None:
    do_what_it_says("bigquery", tmp_path, settings={"BIGQUERY_EMULATOR_HOST": local_bigquery_url})
