"""The tables of a PostgreSQL store: made where there are none, updated where they are older, refused where they must
not be used.
"""

from __future__ import annotations

from connectors._stores.postgresql_link import Link
from connectors._stores.store import StoreUnfit

__all__ = ["MIGRATIONS", "USABLE_FROM", "prepare"]

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # Times are seconds since 1970. `doc` is the record; the columns before it are what it is looked up by. The
        # collation is C: the order of keys is nobody's language, and no update of the system's locales can change it.
        """
        CREATE TABLE connectors_records (
            key text COLLATE "C" PRIMARY KEY,
            job text COLLATE "C" NOT NULL,
            attention text COLLATE "C" NOT NULL,
            since float8 NOT NULL,
            changed float8 NOT NULL,
            lease_until float8 NOT NULL,
            tracked boolean NOT NULL,
            doc text NOT NULL
        )
        """,
        "CREATE INDEX connectors_records_by_job ON connectors_records (job, changed) WHERE job <> ''",
        "CREATE INDEX connectors_records_waiting ON connectors_records (attention, since) WHERE attention <> ''",
        "CREATE INDEX connectors_records_by_change ON connectors_records (changed)",
        "CREATE INDEX connectors_records_tracked ON connectors_records (key) WHERE tracked",
        """
        CREATE TABLE connectors_payloads (
            key text COLLATE "C",
            kind text COLLATE "C",
            ends float8 NOT NULL,
            data bytea NOT NULL,
            PRIMARY KEY (key, kind)
        )
        """,
        "CREATE INDEX connectors_payloads_by_end ON connectors_payloads (ends)",
        # `usable_from` is the oldest schema whose releases may still use the store as it is now: they run beside the
        # newer ones while these are rolled out.
        "CREATE TABLE connectors_schema (version integer NOT NULL, usable_from integer NOT NULL)",
        "INSERT INTO connectors_schema VALUES (0, 0)",
    ),
)
"""Entry n brings schema n to schema n + 1. Entries are added, never changed."""

USABLE_FROM = 1
"""The oldest schema whose releases can use the newest."""

_OLDEST_SERVER = 120_000
_LOCK = 0x436E6374_53636861
"""Of the advisory locks: "CnctScha" in ASCII. It ends with its transaction, so that it works through a pooler."""

_STATE = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
# Not by to_regclass(), which may answer what this session knew before it waited for the lock.
_TABLE = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'connectors_schema' AND pg_table_is_visible(oid))"
_VERSION = "SELECT version, usable_from FROM connectors_schema"
_RIGHTS = """
    SELECT name FROM unnest(ARRAY['connectors_records', 'connectors_payloads']) AS name
    WHERE NOT (
        has_table_privilege(name, 'SELECT') AND has_table_privilege(name, 'INSERT')
        AND has_table_privilege(name, 'UPDATE') AND has_table_privilege(name, 'DELETE')
    )
"""
_TRUE = b"t"


async def prepare(link: Link, name: str) -> None:
    """Check the server, and bring its schema to the newest version. Several servers may do so at once.

    :param name: of the store, for messages.
    :raises StoreUnfit: it cannot be used; waiting does not help.
    """
    if link.server_version < _OLDEST_SERVER:
        found = f"{link.server_version // 10_000}.{link.server_version % 10_000}"
        raise StoreUnfit(f"{name}: PostgreSQL {found} is too old; 12 is the oldest that can be used")
    if (await link.ask(_STATE))[0][0] == _TRUE:
        raise StoreUnfit(
            f"{name}: it is read-only (a standby, or so by its settings); the URL must lead to the primary"
        )
    if await _version(link, name) < len(MIGRATIONS):
        await _migrate(link, name)
    if denied := await link.ask(_RIGHTS):
        tables = " and ".join((row[0] or b"").decode() for row in denied)
        raise StoreUnfit(f"{name}: this user needs SELECT, INSERT, UPDATE and DELETE on {tables}")


async def _version(link: Link, name: str) -> int:
    """The schema's; 0 where there is none."""
    if (await link.ask(_TABLE))[0][0] != _TRUE:
        return 0
    rows = await link.ask(_VERSION)
    if len(rows) != 1:
        raise StoreUnfit(f"{name}: its table connectors_schema must have one row, and has {len(rows)}")
    version, usable_from = (int(value or 0) for value in rows[0])
    if version > len(MIGRATIONS) and usable_from > len(MIGRATIONS):
        raise StoreUnfit(
            f"{name}: its schema {version} is of a newer release, and can be used from schema {usable_from} on; "
            f"this release knows schema {len(MIGRATIONS)}"
        )
    return version


async def _migrate(link: Link, name: str) -> None:
    # Each statement has to see what the last holder of the lock did, whatever the server's default is.
    await link.ask("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        await link.ask("SELECT pg_advisory_xact_lock($1::bigint)", _LOCK)
        version = await _version(link, name)
        if version < len(MIGRATIONS):
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    await link.ask(statement)
            await link.ask(
                "UPDATE connectors_schema SET version = $1::integer, usable_from = $2::integer",
                len(MIGRATIONS),
                USABLE_FROM,
            )
        await link.ask("COMMIT")
    except BaseException:
        link.close()  # which takes it all back
        raise
