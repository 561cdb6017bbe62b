"""How a call that is run locally ends, on a real HTTP service, and what becomes of it there. A call has no job: one
that is broken off is an open request no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from connectors.local import RunOptions
from connectors.testing.faults import FaultProxy
from connectors_http import WebhookConfig, WebhookTask
from plugins.http.tests.fake_service import FakeService, Reply
from tests.local.endings import Ending, Run, run_to_its_end

pytestmark = pytest.mark.anyio


def call(timeout: float | None = None) -> Callable[[str], WebhookTask]:
    """A task for a service that is not there yet."""

    def at(url: str) -> WebhookTask:
        config = WebhookConfig(url=f"{url}/orders/{{inputs.number}}", data={"state": "paid"})
        return WebhookTask("notify", config, inputs={"number": int}, local_run=RunOptions(timeout=timeout))

    return at


RUNS = [
    (Ending.SUCCESS, call(), Reply.of({"id": 17})),
    (Ending.FAILURE, call(), Reply.of({}, status=422)),
    (Ending.RETRYABLE, call(), Reply(429, headers={"Retry-After": "3600"})),  # longer than a call may take
    (Ending.TIMEOUT, call(timeout=1.0), Reply(hangs=True)),
    (Ending.CTRL_C, call(), Reply(hangs=True)),
]


@pytest.mark.parametrize(("ending", "task", "reply"), RUNS, ids=[each[0].value for each in RUNS])
async def test_a_local_run_ends_and_so_does_its_one_call(
    ending: Ending,
    task: Callable[[str], WebhookTask],
    reply: Reply,
    service: FakeService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service.will_say(reply)
    async with FaultProxy(service.url) as proxy:
        variables = {"CONNECTORS_HTTP__HOSTS": proxy.url, "CONNECTORS_HTTP__PRIVATE_NETWORKS": "127.0.0.0/8"}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

        async def begun() -> None:
            await proxy.until_open(within=30)
            async with asyncio.timeout(10):
                while not service.received:  # noqa: ASYNC110 - the service tells nobody
                    await asyncio.sleep(0.01)

        run = Run(ending, task(proxy.url), inputs={"number": 7})
        assert await run_to_its_end(run, variables=variables, begun=begun) == b""
        await proxy.until_idle()
    assert [(each.method, each.target) for each in service.received] == [("POST", "/orders/7")]
