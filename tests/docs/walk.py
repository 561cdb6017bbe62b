"""A page of the guide, done from top to bottom: what it says is written is written, what it says is run is run.

The page is a script in an empty folder, for someone who has the service and its plugins installed.

- A block with a title (```` ```toml title="connectors.toml" ````) is a file, in the folder that the commands have come
  to. It is written again wherever the page shows it again.
- ``python`` without a title is a script of its own.
- ``sh`` is a command for each line; one that ends with a backslash goes on in the next. ``cd``, ``export`` and the
  activation of an environment hold for what follows. Each command must end with 0. A server (``SERVERS``) goes on
  until the page ends, and is waited for until it says its address; one that is not ``connectors serve`` is given its
  port.
- ``text`` is what the last command or script before it printed, on standard output and standard error: ``…`` in a line
  is anything, a line ``…`` is any lines.

What stands in a comment right before a block changes it:

- ``<!-- exit: 3 -->``: its last command ends with 3.
- ``<!-- ctrl-c -->``: its last command is interrupted once it has printed something; it ends with 130, unless ``exit``
  says otherwise.
- ``<!-- server -->``: its last command is a server.
- ``<!-- with: VARIABLE=fixture -->``: its commands see what that fixture gives, such as an emulator's address.
- ``<!-- part of the file -->``: the block has a title, and the file is there and has these lines.
- ``<!-- checked by: tests/docs/test_make.py -->``: that test reads the block, and it is not done here.

The ports of this machine that a page names (``127.0.0.1:8000``; 8000 and 9090 always) are others when it is done, since
they may be taken.
"""

from __future__ import annotations

import random
import re
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from tests.docs.author import Author
from tests.docs.blocks import ROOT, Block, blocks_of
from tests.docs.programs import COMMAND_TIMEOUT, Server, interrupted

__all__ = ["PageFailed", "Walk", "is_as_shown"]

SERVERS = ("connectors serve", "python -m connectors.testing.platform", "python -m tests.fake_")
_NOTES = {"exit", "ctrl-c", "server", "with", "part of the file", "checked by"}
_PORT = re.compile(r"(?:127\.0\.0\.1|localhost):(\d{4,5})\b")
_PORTS = {"CONNECTORS_PORT": "8000", "CONNECTORS_METRICS_PORT": "9090"}
_BELOW_THE_EPHEMERAL = range(12_000, 30_000)
"""Where no program on this machine takes a port by itself between our choice of it and its use."""
_INTERRUPTED = 130
_STATE = 'code=$?; pwd >"$WALK_STATE"; env -0 >>"$WALK_STATE"; exit $code'


class PageFailed(AssertionError):
    """What a page says is not so; the message begins with the page and the line."""


class Walk:
    """One page and the shell of the person who follows it. A context manager: at its end its servers end."""

    def __init__(self, name: str, text: str, folder: Path, fixture: Callable[[str], str]) -> None:
        """:param name: for messages. :param folder: an empty one. :param fixture: what ``with`` names, by name."""
        self._name, self._fixture = name, fixture
        self._blocks = blocks_of(text)
        author = Author(folder)
        self._state = folder / "shell"
        self._ports = _other_ports({*_PORT.findall(text), *_PORTS.values()})
        self._variables = author.environment(**{name: self._ports[port] for name, port in _PORTS.items()})
        self._here = author.package
        self._printed: str | None = None
        self._servers: list[Server] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in reversed(self._servers):
            server.stop()

    def run(self) -> None:
        """All of it.

        :raises PageFailed: a command, a script, a file or an output is not as the page has it.
        """
        for block in self._blocks:
            try:
                self._do(block)
            except PageFailed:
                raise
            except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                raise self._failed(block.line, str(error)) from error

    def _failed(self, line: int, what: str) -> PageFailed:
        logs = "".join(f"\n--- {server.command}\n{server.printed}" for server in self._servers)
        return PageFailed(f"{self._name}:{line}: {what}{logs}")

    def _do(self, block: Block) -> None:
        if unknown := block.notes.keys() - _NOTES:
            raise self._failed(block.line, f"no such note: {', '.join(unknown)}")
        if "checked by" in block.notes:
            _check_test(block.notes["checked by"])
            self._printed = None
        elif block.title:
            self._file(block)
        elif block.language == "sh":
            self._commands(block)
        elif block.language == "python":
            self._script(block)
        elif block.language == "text":
            self._output(block)
        else:
            raise self._failed(block.line, f"a block of {block.language or 'no language'} needs a title")

    def _file(self, block: Block) -> None:
        path, text = self._here / block.title, self._with_ports(block.text)
        if "part of the file" in block.notes:
            if not is_as_shown(f"…\n{text}…\n", path.read_text("utf-8")):
                raise self._failed(block.line, f"{block.title} has no such lines:\n{path.read_text('utf-8')}")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def _script(self, block: Block) -> None:
        path = self._state.with_name("script.py")
        path.write_text(self._with_ports(block.text), "utf-8")
        self._command(block.line, f"python '{path}'", block.notes, is_last=True)

    def _commands(self, block: Block) -> None:
        commands = block.numbered_commands
        for number, (line, command) in enumerate(commands, 1):
            self._command(line, self._with_ports(command), block.notes, is_last=number == len(commands))

    def _command(self, line: int, command: str, notes: Mapping[str, str], *, is_last: bool) -> None:
        variables = dict(self._variables)
        if "with" in notes:
            name, _, fixture = notes["with"].partition("=")
            variables[name] = self._fixture(fixture)
        is_interrupted = is_last and "ctrl-c" in notes
        if not is_interrupted and (command.startswith(SERVERS) or (is_last and "server" in notes)):
            server = Server(command, self._here, variables, self._ports.values())
            self._servers.append(server)
            if not server.is_ready():
                raise self._failed(line, f"{command}: it does not say where it listens")
            self._printed = None
            return
        code, printed = interrupted(command, self._here, variables) if is_interrupted else self._ran(command, variables)
        self._printed = self._as_written(printed)
        wanted = int(notes.get("exit", _INTERRUPTED if is_interrupted else 0)) if is_last else 0
        if code != wanted:
            raise self._failed(line, f"{command}: ended with {code}, not {wanted}:\n{self._printed}")

    def _ran(self, command: str, variables: dict[str, str]) -> tuple[int, str]:
        self._state.unlink(missing_ok=True)
        done = subprocess.run(
            ["sh", "-c", f"{command}\n{_STATE}"],
            cwd=self._here,
            env={**variables, "WALK_STATE": str(self._state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        if self._state.exists():  # it is not where the shell itself was ended
            here, _, after = self._state.read_text("utf-8").partition("\n")
            self._here = Path(here)
            now = dict(item.split("=", 1) for item in after.split("\0") if "=" in item)
            changed = {name: value for name, value in now.items() if variables.get(name) != value}
            gone = variables.keys() - now.keys()
            self._variables = {
                name: value
                for name, value in {**self._variables, **changed}.items()
                if name not in {*gone, "WALK_STATE"}
            }
        return done.returncode, done.stdout

    def _output(self, block: Block) -> None:
        if self._printed is None:
            raise self._failed(block.line, "this is what nothing printed: no command or script comes before it")
        if not is_as_shown(block.text, self._printed):
            raise self._failed(block.line, f"this was printed instead:\n{self._printed}")

    def _with_ports(self, text: str) -> str:
        return re.sub(rf"(?<![\w.])(?:{'|'.join(self._ports)})(?!\w)", lambda found: self._ports[found[0]], text)

    def _as_written(self, printed: str) -> str:
        for written, taken in self._ports.items():
            printed = re.sub(rf"(?<![\w.]){taken}(?!\w)", written, printed)
        return printed


def is_as_shown(shown: str, printed: str) -> bool:
    """Whether that was printed: ``…`` in a line is anything, a line ``…`` is any lines. Blank ends do not count."""
    pattern = ""
    for line in shown.strip("\n").splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            parts = re.split(r"(?: {2,})?…(?: {2,})?", line.rstrip())  # a column's width is that of what is not shown
            pattern += ".*".join(map(re.escape, parts)) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.strip("\n") + "\n") is not None


def _check_test(named: str) -> None:
    path, _, test = named.partition("::")
    if not (ROOT / path).is_file():
        raise ValueError(f"there is no {path}")
    if test and f"def {test}(" not in (ROOT / path).read_text("utf-8"):
        raise ValueError(f"{path} has no {test}")


def _other_ports(named: set[str]) -> dict[str, str]:
    taken: dict[str, str] = {}
    for port in sorted(named):
        while port not in taken:
            candidate = random.choice(_BELOW_THE_EPHEMERAL)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", candidate))
                except OSError:
                    continue
            if str(candidate) not in {*taken.values(), *named}:
                taken[port] = str(candidate)
    return taken
