"""What a Redis URL says (https://www.iana.org/assignments/uri-schemes/prov/redis), and nothing of it in a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["RedisAddress", "parse_address"]

_FILES = {"ssl_ca_certs": "ca_file", "ssl_certfile": "certificate_file", "ssl_keyfile": "key_file"}
"""What may follow the question mark, by its name in redis-py's URLs."""


@dataclass(frozen=True)
class RedisAddress:
    """Where a Redis server is, and who asks."""

    host: str
    port: int = 6379
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: str | None = None
    """The authorities to trust, in place of the system's."""
    certificate_file: str | None = None
    """The client's own certificate, and its key."""
    key_file: str | None = None

    def __str__(self) -> str:
        """For messages: without the credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"


def parse_address(url: str) -> RedisAddress:
    """The address in ``redis[s]://[[username]:password@]host[:port][/database]``.

    With ``rediss``, the files ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile`` may be named in the query.

    :raises ValueError: the URL is none of that kind. A password that was not percent-encoded can lie in any part, so
        that no message repeats a part.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _not_understood() from None
    database = parts.path.strip("/")
    if (
        parts.scheme not in {"redis", "rediss"}
        or not host
        or parts.fragment
        or (database and not (database.isascii() and database.isdigit()))
    ):
        raise _not_understood()
    return RedisAddress(
        host=host,
        port=6379 if port is None else port,
        database=int(database or 0),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme == "rediss",
        **_files(parts.query, tls=parts.scheme == "rediss"),
    )


def _files(query: str, *, tls: bool) -> dict[str, str]:
    files = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _FILES or not value or not tls:
            raise ValueError(f"the query of a Redis store's URL can hold {', '.join(_FILES)}, with rediss:// only")
        files[_FILES[name]] = value
    return files


def _not_understood() -> ValueError:
    return ValueError(
        "a Redis store is named by redis://user:password@host:port/database, or rediss:// for TLS; "
        "special characters in the password are percent-encoded"
    )
