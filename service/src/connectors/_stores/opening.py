"""Finds the store that a URL names. A store's module, and what it needs installed, is imported when its URL is used."""

from __future__ import annotations

from importlib import import_module

from connectors._stores.store import Store

__all__ = ["open_store"]

_MODULES = {
    "memory": "memory",
    "sqlite": "sqlite",
    "redis": "redis",
    "rediss": "redis",
    "postgresql": "postgresql",
}
"""By scheme. Each module has ``from_url``, which takes the whole URL where a server is at its other end, and what
follows ``scheme://`` else."""
_REMOTE = frozenset({"redis", "rediss", "postgresql"})


def open_store(url: str) -> Store:
    """The store, not yet started.

    :param url: ``memory://``, ``sqlite:///absolute/path``, or ``sqlite://`` or "" for the user's own file;
        ``redis://host:port/database``, the same with TLS as ``rediss://``, or ``postgresql://user@host:port/database``.
    :raises ValueError: it names no store. The message repeats nothing of the URL but its scheme: the rest may hold a
        password.
    """
    scheme, separator, rest = (url or "sqlite://").partition("://")
    known = ", ".join(f"{name}://" for name in _MODULES)
    if not separator:
        raise ValueError(f"a store is named by a URL; known are {known}")
    if scheme not in _MODULES:
        raise ValueError(f"no store is known for {scheme}://; known are {known}")
    address = f"{scheme}://{rest}" if scheme in _REMOTE else rest
    store: Store = import_module(f".{_MODULES[scheme]}", __package__).from_url(address)
    return store
