from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import pytest

from demo.emulators import EmulatorError, EmulatorUnavailable, Recipe, running

SERVER = """
import http.server, sys
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


def recipe(code: str = SERVER, *, requirements: tuple[str, ...] = (), python: str | None = None) -> Recipe:
    """A program in Python's own library, in place of an emulator."""
    return Recipe("example", requirements, lambda port, _: ["python", "-c", code, str(port)], python=python)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_answers_while_it_runs_and_is_gone_afterwards() -> None:
    with running(recipe()) as emulator:
        with urllib.request.urlopen(emulator.url) as answer:  # noqa: S310 - an address of this machine
            assert answer.status == 200
        assert is_running(emulator.pid)
    assert not is_running(emulator.pid)


def test_it_is_stopped_when_its_user_fails() -> None:
    with pytest.raises(ZeroDivisionError), running(recipe()) as emulator:
        _ = 1 / 0
    assert not is_running(emulator.pid)


def test_its_environment_is_made_once(cache: Path) -> None:
    for _ in range(2):
        with running(recipe()):
            pass
    assert len(list(cache.glob("connectors-tests/example-*/complete"))) == 1


def test_an_interrupted_environment_is_made_anew(cache: Path) -> None:
    with running(recipe()):
        pass
    [complete] = cache.glob("connectors-tests/example-*/complete")
    complete.unlink()
    (complete.parent / "bin" / "python").unlink()
    with running(recipe()) as emulator:
        assert is_running(emulator.pid)


def test_a_program_that_ends_at_once_is_told_with_its_last_words() -> None:
    with (
        pytest.raises(EmulatorError, match=r"^example did not start: no luck today$"),
        running(recipe("exit('no luck today')")),
    ):
        pass


def test_a_python_that_is_not_there_is_told() -> None:
    with pytest.raises(EmulatorUnavailable, match=r"^example needs Python 3\.2, "), running(recipe(python="3.2")):
        pass


def test_packages_that_cannot_be_had_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(EmulatorUnavailable) as caught, running(recipe(requirements=("not-there==1.0",))):
        pass
    assert "is the package index reachable?" in str(caught.value)
    assert "\n" not in str(caught.value)
