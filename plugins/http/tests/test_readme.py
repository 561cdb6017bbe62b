"""What the README says of tasks in Python, done on a real HTTP service."""

from __future__ import annotations

import json
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from plugins.http.tests.fake_service import FakeService, Reply
from tests.local.readme import do_what_it_says


def test_the_task_in_python_and_the_one_in_a_file_run_as_the_readme_says(tmp_path: Path) -> None:
    # in a thread of its own: the section's commands are waited for here
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(FakeService().serving("127.0.0.2")) as service,
    ):
        service.will_say(*[Reply.of({"id": 17})] * 2)
        settings = {"CONNECTORS_HTTP__PRIVATE_NETWORKS": "127.0.0.0/8", "NO_PROXY": "127.0.0.2"}
        do_what_it_says("http", tmp_path, settings=settings, in_place_of={"https://hooks.example.com": service.url})
    assert [(each.method, each.target) for each in service.received] == [("POST", "/teams/sales")] * 2
    assert [json.loads(each.body) for each in service.received] == [{"text": "3 orders were late"}] * 2
