"""The command ``connectors new``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from connectors._new.names import BadName, Names
from connectors._new.writing import CannotWrite, write_plugin

__all__ = ["new"]


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the plugin is for, such as acme or my-jobs.")],
    sync: Annotated[
        bool, typer.Option("--sync", help="For calls that answer at once, instead of jobs that are polled.")
    ] = False,
    directory: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the plugin's folder is made.", show_default="this one")
    ] = Path(),
) -> None:
    """Write a plugin: a package with a connector, a typed task, and tests that pass as they are.

    It is a folder connectors-NAME, ready to be installed. A folder that is there already is left as it is.
    """
    try:
        names = Names.of(name)
        folder, written = write_plugin(names, "sync" if sync else "async", directory)
    except (BadName, CannotWrite) as error:
        typer.echo(f"connectors: {error}", err=True)
        sys.exit(1)
    for path in written:
        typer.echo(folder / path)
    typer.echo(f"\nNext, where the service is installed:\n  cd {shlex.quote(str(folder))}")
    typer.echo("  pip install -e '.[dev]'\n  connectors list\n  pytest")
