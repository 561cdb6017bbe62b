"""What the README says of tasks in Python, done on the fake: no emulator has statements that end."""

from __future__ import annotations

from pathlib import Path

from anyio.from_thread import start_blocking_portal

from plugins.snowflake.tests.conftest import KeyPairOf
from plugins.snowflake.tests.fake_snowflake import FakeSnowflake
from tests.local.readme import do_what_it_says


def test_the_task_in_python_and_the_one_in_a_file_run_as_the_readme_says(key_pair: KeyPairOf, tmp_path: Path) -> None:
    # in a thread of its own: the section's commands are waited for here
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(FakeSnowflake().serving()) as snowflake:
        snowflake.keys["MYORG-MAIN.LOADER"] = key_pair.public
        snowflake.new_statement = {"status": "SUCCESS"}
        settings = {"CONNECTORS_SNOWFLAKE__ENDPOINT": snowflake.url, "_FSEC_SNOWFLAKE_PRIVATE_KEY": key_pair.plain}
        do_what_it_says("snowflake", tmp_path, settings=settings)
    first, second = snowflake.statements.values()
    assert first.body["bindings"] == second.body["bindings"] == {"1": {"type": "FIXED", "value": "100"}}
