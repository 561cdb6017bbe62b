"""How records lie in Redis, and the scripts that change them in one atomic step.

- ``{connectors}:record:KEY``: a record's text.
- ``{connectors}:changed``: every key, by when its record changed.
- ``{connectors}:job:JOB``: the keys whose records lead to a job, by when they changed.
- ``{connectors}:waiting:ATTENTION``: the keys whose records wait for something, by since when.
- ``{connectors}:payload:KIND:KEY``: a payload. ``{connectors}:payloads``: every ``KIND:KEY``, by when it runs out.
- ``{connectors}:schema``: the number of this list's form.

The braces put all of it into one slot of a cluster (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
"""

from __future__ import annotations

from connectors._stores.record import Attention, Indexed, Record
from connectors._stores.redis_connections import Script

__all__ = [
    "CHANGE",
    "CHANGED",
    "FIND_JOB",
    "FORGET_PAYLOADS",
    "LOAD",
    "PAYLOADS",
    "RECORD",
    "SAVE",
    "SCHEMA",
    "entries_of",
    "job_name",
    "payload_name",
    "waiting_name",
]

_PREFIX = "{connectors}:"
RECORD = f"{_PREFIX}record:"
CHANGED = f"{_PREFIX}changed"
PAYLOADS = f"{_PREFIX}payloads"
SCHEMA = f"{_PREFIX}schema"


def job_name(job: str) -> str:
    """Of the sorted set of a job's keys."""
    return f"{_PREFIX}job:{job}"


def waiting_name(attention: Attention) -> str:
    """Of the sorted set of the keys that wait for something."""
    return f"{_PREFIX}waiting:{attention.value}"


def payload_name(member: str) -> str:
    """Of a payload, which its sorted set holds as ``member``."""
    return f"{_PREFIX}payload:{member}"


def entries_of(record: Record | None) -> dict[str, float]:
    """The scores that a record has in the sorted sets, by their names."""
    if record is None:
        return {}
    indexed: Indexed = record.indexed()
    entries = {CHANGED: indexed.changed}
    if indexed.job:
        entries[job_name(indexed.job)] = indexed.changed
    if indexed.attention is not Attention.NONE:
        entries[waiting_name(indexed.attention)] = indexed.since
    return entries


CHANGE = Script("""
-- KEYS: the record, then sorted sets.
-- ARGV: the text that was read ("": none), the text to write ("": none), the member, then a score for each sorted set
-- ("": the member leaves it).
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
if ARGV[1] == '' and ARGV[2] == '' then -- a key without a record: whoever takes it out has forgotten it
  return redis.call('ZREM', KEYS[2], ARGV[3])
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
for n = 2, #KEYS do
  if ARGV[n + 2] == '' then
    redis.call('ZREM', KEYS[n], ARGV[3])
  else
    redis.call('ZADD', KEYS[n], ARGV[n + 2], ARGV[3])
  end
end
return 1
""")
"""1 where the record was still what had been read; else 0, and nothing changes."""

FIND_JOB = Script("""
-- KEYS: a job's sorted set. ARGV: what stands before a record's key. The record's own name is no key of this call, and
-- may be none where it lies in the same slot.
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0)[1]
return last and redis.call('GET', ARGV[1] .. last)
""")

_NOW = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
"""

SAVE = Script(f"""
-- KEYS: the sorted set, the payload. ARGV: the time ("": the server's), seconds to keep it, the member, the payload.
{_NOW}
redis.call('SET', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[1], string.format('%.17g', now + ARGV[2]), ARGV[3])
""")

LOAD = Script(f"""
-- KEYS: the sorted set, the payload. ARGV: the time ("": the server's), the member.
{_NOW}
local ends = redis.call('ZSCORE', KEYS[1], ARGV[2])
return ends and tonumber(ends) > now and redis.call('GET', KEYS[2])
""")

FORGET_PAYLOADS = Script("""
-- KEYS: the sorted set, then payloads. ARGV: the time, then the payloads' members. One may have been saved anew since.
local forgotten = 0
for n = 2, #KEYS do
  local ends = redis.call('ZSCORE', KEYS[1], ARGV[n])
  if ends and tonumber(ends) <= tonumber(ARGV[1]) then
    redis.call('DEL', KEYS[n])
    redis.call('ZREM', KEYS[1], ARGV[n])
    forgotten = forgotten + 1
  end
end
return forgotten
""")
