"""Finds the store that a URL names. A store's module, and what it needs installed, is imported when its URL is used."""

from __future__ import annotations

from importlib import import_module

from connectors._stores.store import Store

__all__ = ["open_store"]

_MODULES = {"memory": "memory", "sqlite": "sqlite"}
"""By scheme. Each module has ``from_url``, which takes what follows ``scheme://``."""


def open_store(url: str) -> Store:
    """The store, not yet started.

    :param url: ``memory://``, ``sqlite:///absolute/path``, or ``sqlite://`` or "" for the user's own file.
    :raises ValueError: it names no store. The message repeats nothing of the URL but its scheme: the rest may hold a
        password.
    """
    scheme, separator, rest = (url or "sqlite://").partition("://")
    known = " and ".join(f"{name}://" for name in _MODULES)
    if not separator:
        raise ValueError(f"a store is named by a URL; known are {known}")
    if scheme not in _MODULES:
        raise ValueError(f"no store is known for {scheme}://; known are {known}")
    store: Store = import_module(f".{_MODULES[scheme]}", __package__).from_url(rest)
    return store
