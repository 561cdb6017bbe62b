"""What the README says of tasks in Python, done on an OpenAI that others wrote."""

from __future__ import annotations

from pathlib import Path

from tests.local.readme import do_what_it_says


def test_the_tasks_in_python_and_the_one_in_a_file_run_as_the_readme_says(llmock_url: str, tmp_path: Path) -> None:
    do_what_it_says("openai", tmp_path, settings={"OPENAI_BASE_URL": f"{llmock_url}/v1"})
