"""Writes a plugin's folder from the templates.

The templates are the files of a plugin named Acme that works as it is: what both kinds of connectors have lies in
``templates``, what one of them has in ``templates/async`` and ``templates/sync``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from connectors._new.names import Names

__all__ = ["CannotWrite", "Kind", "write_plugin"]

Kind = Literal["async", "sync"]

_TEMPLATES: Final = Path(__file__).parent / "templates"
_KINDS: Final = frozenset({"async", "sync"})
_MADE_BY_TOOLS: Final = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})


class CannotWrite(Exception):
    """The folder cannot be written; the message says why."""


def write_plugin(names: Names, kind: Kind, directory: Path) -> tuple[Path, tuple[Path, ...]]:
    """Write the plugin into a new folder, named after its distribution.

    :param directory: where the folder is to be; it must exist.
    :returns: the folder, and the files in it, as paths within it.
    :raises CannotWrite: there is such a folder, which is left as it is; or it could not be written, and is gone again.
    """
    folder = directory / names.distribution
    try:
        folder.mkdir()
    except FileExistsError:
        raise CannotWrite(f"{folder} is there already, and is left as it is") from None
    except FileNotFoundError:
        raise CannotWrite(f"there is no directory {directory}") from None
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be made: {error.strerror}") from error
    try:
        written = tuple(_write(names, kind, folder))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise CannotWrite(f"{folder} cannot be written: {error.strerror}") from error
    return folder, written


def _write(names: Names, kind: Kind, folder: Path) -> Iterator[Path]:
    for path, template in sorted(_templates_of(kind)):
        within = Path(names.fill_in(path.as_posix()))
        target = folder / within
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(names.fill_in(template.read_text("utf-8")), "utf-8")
        yield within


def _templates_of(kind: Kind) -> Iterator[tuple[Path, Path]]:
    """Each template of a kind: the path in the plugin, and the file."""
    for root, is_shared in ((_TEMPLATES, True), (_TEMPLATES / kind, False)):
        for file in root.rglob("*"):
            path = file.relative_to(root)
            if _MADE_BY_TOOLS.intersection(path.parts) or (is_shared and path.parts[0] in _KINDS):
                continue
            if file.is_file():
                yield path, file
