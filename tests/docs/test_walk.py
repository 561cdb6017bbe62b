"""A page that is wrong fails where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of
from tests.docs.walk import PageFailed, Walk, is_as_shown

RING = """
import sys
try:
    print("it rings", flush=True)
    sys.stdin.read() or __import__("signal").pause()
except KeyboardInterrupt:
    sys.exit(130)
"""
LISTEN = """
import socket, sys, signal
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening on 127.0.0.1:" + sys.argv[1], flush=True)
signal.pause()
"""


def fence(text: str, info: str = "sh", note: str = "") -> str:
    before = f"<!-- {note} -->\n" if note else ""
    return f"{before}```{info}\n{text.strip()}\n```\n\n"


def walked(folder: Path, *parts: str, fixture: str = "") -> None:
    with Walk("page.md", "# A page\n\n" + "".join(parts), folder, lambda name: f"{fixture}{name}") as walk:
        walk.run()


# --- what is right


def test_a_file_is_written_where_the_commands_have_come_to(tmp_path: Path) -> None:
    walked(
        tmp_path,
        fence("mkdir there\ncd there"),
        fence("a = 1", 'toml title="deep/x.toml"'),
        fence("test -f deep/x.toml"),
    )
    assert (tmp_path / "package/there/deep/x.toml").read_text() == "a = 1\n"


def test_a_command_goes_on_after_a_backslash(tmp_path: Path) -> None:
    walked(tmp_path, fence("echo one \\\n  two  # a comment"), fence("one two", "text"))


def test_an_export_holds_for_what_follows(tmp_path: Path) -> None:
    walked(
        tmp_path,
        fence("export SAID='two words'"),
        fence("import os; print(os.environ['SAID'])", "python"),
        fence("two words", "text"),
    )


def test_a_block_of_a_list_is_read_without_its_indent() -> None:
    [block] = blocks_of("- so:\n\n    ```python\n    if True:\n        pass\n    ```\n")
    assert block.text == "if True:\n    pass\n"


def test_a_block_keeps_the_indent_that_is_not_its_fence_s() -> None:
    [block] = blocks_of("```text\n  a\n  b\n```\n")
    assert block.text == "  a\n  b\n"


def test_a_command_may_be_told_to_fail(tmp_path: Path) -> None:
    walked(tmp_path, fence("true\nexit 3", note="exit: 3"))


def test_a_command_is_interrupted_after_its_first_output(tmp_path: Path) -> None:
    walked(
        tmp_path,
        fence(RING, 'python title="ring.py"'),
        fence("python ring.py", note="ctrl-c"),
        fence("it rings", "text"),
    )


def test_a_server_goes_on_at_a_port_of_its_own_until_the_page_ends(tmp_path: Path) -> None:
    call = "import socket\nprint(socket.create_connection(('127.0.0.1', 8000)).getpeername())"
    walked(
        tmp_path,
        fence(LISTEN, 'python title="listen.py"'),
        fence("python listen.py 8000", note="server"),
        fence(call, "python"),
        fence("('127.0.0.1', 8000)", "text"),
    )


def test_a_fixture_is_what_a_block_s_commands_see_and_no_other_s(tmp_path: Path) -> None:
    walked(
        tmp_path,
        fence("echo $EMULATOR", note="with: EMULATOR=crucible"),
        fence("at crucible", "text"),
        fence("echo none: $EMULATOR"),
        fence("none:", "text"),
        fixture="at ",
    )


def test_lines_of_a_file_that_is_there_are_found_in_it(tmp_path: Path) -> None:
    shown = fence("b = 2\n…\nd = 4", 'toml title="x.toml"', note="part of the file")
    walked(tmp_path, fence("a = 1\nb = 2\nc = 3\nd = 4", 'toml title="x.toml"'), shown)


def test_an_ellipsis_is_as_wide_as_what_it_stands_for() -> None:
    assert is_as_shown("a longer key  FATE\n…             done\n", "a longer key  FATE\nb  done\n")


@pytest.mark.parametrize("shown", ["a …\nb", "…", "a 1\n…\nb", "…\nb", "a 1\n…", "… 1\nb"])
def test_an_ellipsis_stands_for_what_is_not_shown(shown: str) -> None:
    assert is_as_shown(f"{shown}\n", "a 1\nb\n")


# --- what is wrong


@pytest.mark.parametrize(
    ("parts", "line", "said"),
    [
        ([fence("true\nfalse")], 5, "ended with 1, not 0"),
        ([fence("exit 3", note="exit: 4")], 5, "ended with 3, not 4"),
        ([fence("raise SystemExit('so')", "python")], 3, "so"),
        ([fence("echo one"), fence("two", "text")], 7, "one"),
        ([fence("one", "text")], 3, "no command or script comes before it"),
        ([fence("a: 1", "yaml")], 3, "needs a title"),
        ([fence("true", note="exits: 3")], 4, "no such note"),
        ([fence("true", note="checked by: tests/docs/test_nothing.py")], 4, "there is no tests/docs/test_nothing.py"),
        ([fence("true", note="checked by: tests/docs/test_walk.py::test_that")], 4, "has no test_that"),
        ([fence("python -c 'print(1)'", note="server")], 5, "does not say where it listens"),
        ([fence("a = 1", 'toml title="x.toml"', note="part of the file")], 4, "x.toml"),
    ],
)
def test_a_page_fails_at_the_line_that_is_wrong(parts: list[str], line: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(PageFailed) as failed:
        walked(tmp_path, *parts)
    assert str(failed.value).startswith(f"page.md:{line}: ")
    assert said in str(failed.value)


def test_a_fence_that_is_not_closed_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1: the fence is not closed"):
        blocks_of("```sh\ntrue\n")


@pytest.mark.parametrize("shown", ["a", "b", "a 1\nb\nc", "a 1", "a …b", "… b"])
def test_what_is_shown_otherwise_was_not_printed(shown: str) -> None:
    assert not is_as_shown(f"{shown}\n", "a 1\nb\n")
