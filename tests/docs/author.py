"""A connector author's shell: an environment with the service and its plugins, and a package of the author's own."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

__all__ = ["Author"]


class Author:
    """The environment sees what is installed where the tests run; what the author installs stays in it."""

    def __init__(self, folder: Path) -> None:
        """:param folder: an empty one."""
        self.package = folder / "package"
        self.package.mkdir()
        self._home = folder / "home"
        self._home.mkdir()
        self._bin = folder / "environment" / "bin"
        venv.create(folder / "environment", with_pip=False)
        [site_packages] = (folder / "environment" / "lib").glob("python*/site-packages")
        # addsitedir, since editable packages are .pth files themselves
        (site_packages / "tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        self._write_command("pip", "-m pip")
        self._write_command("pytest", "-m pytest")
        self._write_command("connectors", "-c 'from connectors.cli import main; main()'")
        for tool in ("mypy", "ruff"):  # these read the author's files and run none of them
            (self._bin / tool).symlink_to(Path(sysconfig.get_path("scripts")) / tool)

    def _write_command(self, name: str, arguments: str) -> None:
        command = self._bin / name
        command.write_text(f'#!/bin/sh\nexec "{self._bin / "python"}" {arguments} "$@"\n')
        command.chmod(0o755)

    def run(self, command: str, **variables: str) -> str:
        """What a command prints. It must succeed."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.package,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: str, **variables: str) -> subprocess.Popen[str]:
        """A command that goes on until it is told to end."""
        return subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            cwd=self.package,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self, **variables: str) -> dict[str, str]:
        """The variables of the author's shell, and these."""
        not_theirs = ("CONNECTORS_", "PIP_", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(not_theirs)}
        return {
            **kept,
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self._home),
            "XDG_STATE_HOME": str(self._home / ".local" / "state"),
            "COLUMNS": "200",
            "PYTHONUNBUFFERED": "1",
            # The build backend is there already. (pip reads 0 as "no isolation".)
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CONFIG_FILE": os.devnull,
            **variables,
        }
