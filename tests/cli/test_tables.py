"""Tables on terminals."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from connectors._tables import print_table


@pytest.mark.parametrize("width", [20, 60, 200])
def test_no_word_of_a_table_is_broken_however_narrow_the_terminal_is(width: int) -> None:
    printed = io.StringIO()
    to = Console(file=printed, force_terminal=True, width=width, color_system=None)
    print_table(
        to, ["TASK TYPE", "DEDUPE", "DISTRIBUTION"], [["bigquery_query_job_task", "", "connectors-bigquery 0.1"]]
    )
    words = printed.getvalue().split()
    assert {"TASK", "TYPE", "DEDUPE", "DISTRIBUTION", "bigquery_query_job_task", "-", "connectors-bigquery"} <= {*words}
