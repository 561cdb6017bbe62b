"""Where a PostgreSQL store is, as its URL says."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

__all__ = ["Address", "parse_address"]

_CONNECT = 2
"""Seconds to connect to one of the server's addresses, unless the URL has a ``connect_timeout``; libpq's least."""


@dataclass(frozen=True)
class Address:
    """Its text holds no password."""

    name: str
    """Of the store, for messages."""
    conninfo: str = field(repr=False)
    """For libpq."""
    connect_timeout: float
    """Seconds for all hosts together."""
    password: str = field(repr=False)

    def without_password(self, words: str) -> str:
        """The words on one line, with the password put out."""
        line = " ".join(words.split())
        for password in {self.password, quote(self.password, safe="")} - {""}:
            line = line.replace(password, "…")
        return line


def parse_address(url: str) -> Address:
    """What a URL says that libpq can read: ``postgresql://user:password@host:port/database?sslmode=…``
    (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS).

    :raises ValueError: it is no such URL. The message repeats nothing of it.
    """
    # libpq would take a part of such a password for the host or the database, and would tell it in every error
    authority, _, path = url.partition("://")[2].partition("/")
    if authority.count("@") > 1 or "@" in path.partition("?")[0]:
        raise ValueError(
            "in a PostgreSQL URL each of / : @ ? % that belongs to the user's name or the password "
            "is percent-encoded, as in %40 for @"
        )
    try:
        given = conninfo_to_dict(url)
        timeout = int(given.get("connect_timeout") or _CONNECT)
    except (psycopg.ProgrammingError, ValueError):
        raise ValueError(
            "a PostgreSQL store is named as libpq does it: postgresql://user:password@host:port/database?sslmode=require"
        ) from None  # the cause repeats a part of the URL
    conninfo = make_conninfo(
        url, client_encoding="UTF8", fallback_application_name="connectors", connect_timeout=timeout
    )
    hosts, port = str(given.get("host") or given.get("hostaddr") or ""), str(given.get("port") or "")
    where = f"{hosts or 'this machine'}{port and ', port '}{port}"
    return Address(
        name=f"the PostgreSQL store {given.get('dbname') or '(the default database)'} on {where}",
        conninfo=conninfo,
        connect_timeout=max(timeout, _CONNECT) * (hosts.count(",") + 1) + 1.0,
        password=str(given.get("password") or ""),
    )
