"""What every test in the workspace shares: the event loop, the property tests' profile, and no silent skip in CI."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

import hypothesis
import pytest

# No deadline: a shared machine's pauses are no fault of the code. A failing example is printed as code to repeat it.
hypothesis.settings.register_profile("workspace", deadline=None, print_blob=True)
# for the same tests under another Python, which may stumble over a kind of value and hardly over a hundredth of it
hypothesis.settings.register_profile("again", hypothesis.settings.get_profile("workspace"), max_examples=20)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "workspace"))


def pytest_configure() -> None:
    """Whatever starts the tests may have had SIGINT or SIGHUP ignored (``nohup``, a shell's ``&``). Every program that
    they start would inherit that, and Ctrl-C would do nothing in it.
    """
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Every `@pytest.mark.anyio` test runs on asyncio: grpclib knows no other loop."""
    return "asyncio"


def _skip_reasons(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> list[str]:
    """One line per skipped test or module: where it was, and why."""
    lines = []
    for report in reports:
        where, reason = report.nodeid, str(report.longrepr)
        if isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
        lines.append(f"{where}: {reason}")
    return lines


def _skipped_in_ci(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return []
    return _skip_reasons(reporter.stats.get("skipped", []))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI every server that a test needs is there: a skipped test fails the session."""
    if session.exitstatus == pytest.ExitCode.OK and _skipped_in_ci(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skipped = _skipped_in_ci(config)
    if skipped:
        terminalreporter.section("skipped, which fails the session where CI is set", red=True)
        for line in skipped:
            terminalreporter.line(line)
