from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.testing.platform import CONNECTORS, FakePlatform
from tests.chaos.arena import Account, Arena
from tests.chaos.servers import ServiceProcess, platform_plugins

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SCALE = float(os.environ.get("CHAOS_SCALE", "1"))

MakeArena = Callable[..., AbstractAsyncContextManager[Arena]]
Report = Callable[[Account], None]
_ACCOUNT = pytest.StashKey[list[str]]()


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    return platform_plugins(tmp_path)


@pytest.fixture
def make_arena(plugins: Path, tmp_path: Path) -> MakeArena:
    """Start server processes around a platform. ``each`` are options of one server each, ``options`` of all."""

    @asynccontextmanager
    async def make(
        store: str,
        *options: str,
        each: Sequence[Sequence[str]] = ((), ()),
        platform: FakePlatform | None = None,
        **more: Any,
    ) -> AsyncIterator[Arena]:
        async with platform or FakePlatform(seed=SEED) as held:
            variables = {}
            for task_type in CONNECTORS:
                variables[f"CONNECTORS_{task_type.upper()}__URL"] = held.url
                # seconds: a busy machine is no fault of the platform
                variables[f"CONNECTORS_{task_type.upper()}__TIMEOUT"] = "30"
            servers = [
                ServiceProcess(
                    f"--store={store}", *options, *own, plugins=plugins, folder=tmp_path, variables=variables
                )
                for own in each
            ]
            try:
                for server in servers:
                    await server.ready()
                yield Arena(servers, held, SEED, SCALE, **more)
            finally:
                for server in servers:
                    await server.close()
                    sys.stdout.write(server.complaints())  # which is shown where the test fails

    return make


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Have an account printed at the end of the session, and with a failure."""

    def tell(account: Account) -> None:
        request.config.stash.setdefault(_ACCOUNT, []).append(f"{request.node.name}: {account}")

    return tell


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    made = yield
    if made.failed and "chaos" in item.path.parts:
        made.sections.append(("the same plan again", f"CHAOS_SEED={SEED} CHAOS_SCALE={SCALE:g} pytest '{item.nodeid}'"))
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    accounts = config.stash.get(_ACCOUNT, [])
    if accounts:
        terminalreporter.section(f"chaos, seed {SEED}, scale {SCALE:g}")
        for line in accounts:
            terminalreporter.line(line)
