"""Packages that plugins of the SDKs import, and that what is asked of the plugins here does not need."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

__all__ = ["stand_in_for"]


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Packages that have every name: in small letters another one, otherwise a class that does nothing."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self._packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        def find(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return importlib.import_module(f"{module.__name__}.{name}") if name.islower() else type(name, (), {})

        module.__getattr__ = find  # type: ignore[method-assign]  # PEP 562


def stand_in_for(*packages: str) -> None:
    """From now on these can be imported, where they are not installed."""
    sys.meta_path.append(_StandIns(packages))  # behind the real ones
