"""The SQL of a PostgreSQL store. Each statement is a transaction of its own.

Where a statement needs the time, that is ``$1`` in tests and the server's clock where ``$1`` is NULL: the clock at the
statement's start, which an index may be searched by.
"""

from __future__ import annotations

__all__ = [
    "DELETE",
    "EXPIRE_PAYLOADS",
    "EXPIRE_RECORDS",
    "FIND",
    "FIND_JOB",
    "INSERT",
    "LOAD",
    "NOW",
    "PAGE",
    "READ",
    "SAVE",
    "UPDATE",
    "UPDATE_UNSYNCED",
    "WAITING",
]


def _with_clock(statement: str) -> str:
    """The statement with its clock put in."""
    # What was worked out ahead of the statement, with the time in $3, holds where that is the clock's to 50 ms.
    statement = statement.replace("IN_TIME", "($3::float8 IS NULL OR abs(CLOCK - $3::float8) <= 0.05)")
    return statement.replace("CLOCK", "coalesce($1::float8, extract(epoch FROM statement_timestamp())::float8)")


NOW = _with_clock("SELECT CLOCK")

# --- A change: the record is read, and written from what was read. A row comes back where it was written.

READ = _with_clock("SELECT CLOCK, (SELECT doc FROM connectors_records WHERE key = $2)")

INSERT = _with_clock("""
    INSERT INTO connectors_records (key, doc, job, attention, since, changed, lease_until, tracked)
    SELECT $2, $4, $5, $6, $7::float8, $8::float8, $9::float8, $10::boolean WHERE IN_TIME
    ON CONFLICT (key) DO NOTHING RETURNING CLOCK
""")

UPDATE = _with_clock("""
    UPDATE connectors_records
    SET doc = $4, job = $5, attention = $6, since = $7::float8, changed = $8::float8, lease_until = $9::float8,
        tracked = $10::boolean
    WHERE key = $2 AND doc = $11 AND IN_TIME RETURNING CLOCK""")

UPDATE_UNSYNCED = f"{UPDATE}, set_config('synchronous_commit', 'off', true)"
"""The same, with a commit that does not wait for the disk; the log is one, so that the next sync is this commit's too
(https://www.postgresql.org/docs/current/wal-async-commit.html)."""

DELETE = _with_clock("DELETE FROM connectors_records WHERE key = $2 AND doc = $4 AND IN_TIME RETURNING CLOCK")

# --- Lookups. None may read the whole table.

FIND = "SELECT doc FROM connectors_records WHERE key = $1"

FIND_JOB = "SELECT doc FROM connectors_records WHERE job = $1 AND job <> '' ORDER BY changed DESC LIMIT 1"

WAITING = _with_clock("""
    SELECT doc FROM connectors_records
    WHERE attention = $2 AND attention <> '' AND since <= CLOCK - $3::float8
    ORDER BY since LIMIT $4::bigint
""")

PAGE = "SELECT key, doc FROM connectors_records WHERE tracked AND key >= $1 ORDER BY key LIMIT 500"

# --- Payloads.

SAVE = _with_clock("""
    INSERT INTO connectors_payloads (key, kind, data, ends) VALUES ($2, $3, $4::bytea, CLOCK + $5::float8)
    ON CONFLICT (key, kind) DO UPDATE SET data = excluded.data, ends = excluded.ends
""")

LOAD = _with_clock("SELECT data FROM connectors_payloads WHERE key = $2 AND kind = $3 AND ends > CLOCK")

# --- Expiry. The rows are chosen once and locked; what another server works on is left for the next step.

EXPIRE_PAYLOADS = _with_clock("""
    WITH gone AS (
        DELETE FROM connectors_payloads WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM connectors_payloads WHERE ends <= CLOCK
            ORDER BY ends LIMIT $2::bigint FOR UPDATE SKIP LOCKED
        )) RETURNING 1
    )
    SELECT count(*) FROM gone
""")

EXPIRE_RECORDS = _with_clock("""
    WITH gone AS (
        DELETE FROM connectors_records WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM connectors_records WHERE changed <= CLOCK - $2::float8 AND lease_until <= CLOCK
            ORDER BY changed LIMIT $3::bigint FOR UPDATE SKIP LOCKED
        )) RETURNING 1
    )
    SELECT count(*) FROM gone
""")
