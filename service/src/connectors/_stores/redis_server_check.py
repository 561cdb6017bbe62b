"""Whether a Redis server can be trusted with records: asked once, when the store is opened."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)

from connectors._stores.redis_connections import Connections, Conversation, code_of
from connectors._stores.redis_scripts import SCHEMA
from connectors._stores.store import StoreUnfit

__all__ = ["check_server", "unfitness"]

log = logging.getLogger("connectors.stores")

_SCHEMA_NUMBER = 1
_OLDEST = (6, 2)
_ASKED = ("appendonly", "appendfsync", "save")
"""Each in a question of its own: several in one are known since Redis 7.0."""


class _Remark(NamedTuple):
    """A line for the log."""

    level: int
    text: str


async def check_server(connections: Connections, name: str) -> None:
    """Check the server, mark its database as a store, and log what a crash of it may lose.

    :raises StoreUnfit: it cannot be used as it is. :raises StoreUnavailable: it cannot be reached now.
    """
    async with connections.open() as talk:
        info: dict[str, str] = {}
        config: dict[str, str] | None = None
        try:
            info, config = await _facts(talk)
            unfit = unfitness(info) or await _mark(talk)
        except ResponseError as error:
            unfit = _refusal(error)
            if not unfit:
                raise
        except (AuthenticationError, AuthorizationError):
            unfit = "refuses the credentials in its URL"
    if unfit:
        raise StoreUnfit(f"the Redis store at {name} {unfit}")
    for remark in [_unchecked(info), _persistence(info, config)]:
        if remark:
            log.log(remark.level, "the Redis store at %s %s", name, remark.text)


async def _facts(talk: Conversation) -> tuple[dict[str, str], dict[str, str] | None]:
    """What INFO says, nothing where it is forbidden; and what CONFIG says, None where that is forbidden."""
    told, *settings = await talk.exchange(("INFO",), *(("CONFIG GET", name) for name in _ASKED))
    info = {}
    if not isinstance(told, ResponseError):
        lines = (line.partition(":") for line in told.decode("utf-8", "replace").splitlines())
        info = {name: value for name, _, value in lines}
    if any(isinstance(pair, ResponseError) or len(pair) != 2 for pair in settings):
        return info, None  # managed servers keep their configuration to themselves
    return info, {name: pair[1].decode("utf-8", "replace") for name, pair in zip(_ASKED, settings, strict=True)}


def unfitness(info: Mapping[str, str]) -> str | None:
    """Why the server cannot be used, by what INFO says (https://redis.io/docs/latest/commands/info/)."""
    version = info.get("redis_version", "")
    if version and tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST:
        return f"is of version {version}; 6.2 or newer is expected"
    if info.get("role") == "slave":
        primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        return f"is a replica, which takes no records: name its primary, which is {primary} for the replica"
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory", "0") != "0" and policy != "noeviction":
        return (
            f"has the maxmemory-policy {policy} where noeviction is expected: "
            "when its memory is full it drops records, and a create that is repeated then makes a second job"
        )
    return None


def _unchecked(info: Mapping[str, str]) -> _Remark | None:
    missing = [name for name in ("redis_version", "role", "maxmemory_policy") if name not in info]
    if not missing:
        return None
    return _Remark(
        logging.WARNING,
        f"does not tell {', '.join(missing)} (INFO): whether it is a primary of version 6.2 or newer that never drops "
        "records (maxmemory-policy noeviction) could not be checked",
    )


def _persistence(info: Mapping[str, str], config: Mapping[str, str] | None) -> _Remark | None:
    """What a crash of the server may lose (https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/)."""
    if config is None:
        append_only = {"1": "is on", "0": "is off"}.get(info.get("aof_enabled", ""), "may be on or off")
        return _Remark(
            logging.WARNING,
            "forbids CONFIG: what a crash of the Redis server loses could not be checked; "
            f"its append-only file {append_only}",
        )
    if config["appendonly"] == "yes":
        match config["appendfsync"]:
            case "always":
                return None
            case "everysec":
                return _Remark(
                    logging.INFO,
                    "has appendfsync everysec: up to 1 s of records may be lost by a crash of the Redis server; "
                    "with appendfsync always none",
                )
            case other:
                return _Remark(
                    logging.WARNING,
                    f"has appendfsync {other}: records of some 30 s may be lost by a crash of its machine; "
                    "with appendfsync always none",
                )
    if config["save"]:
        return _Remark(
            logging.WARNING,
            f"keeps snapshots only (save {config['save']}): a crash of it loses what came after the last one, and a "
            "create of that time that is repeated may make a second job; expected are appendonly yes and appendfsync "
            "always",
        )
    return _Remark(
        logging.WARNING,
        "keeps nothing on its disk: a restart of it loses every record, and a create that is repeated then may make a "
        "second job; expected are appendonly yes and appendfsync always",
    )


async def _mark(talk: Conversation) -> str | None:
    _, held = await talk.ask(("SET", SCHEMA, _SCHEMA_NUMBER, "NX"), ("GET", SCHEMA))
    number = held.decode("utf-8", "replace")
    if not (number.isascii() and number.isdigit()):
        return f"holds something that is no schema number under {SCHEMA}: it is another program's"
    if int(number) > _SCHEMA_NUMBER:
        return f"holds records of schema {number}, of a newer release; this release knows schema {_SCHEMA_NUMBER}"
    return None


def _refusal(error: ResponseError) -> str | None:
    """Why waiting does not help, where it does not."""
    match error:
        case NoPermissionError():
            return "does not allow its user what is needed: reading, writing and scripts on {connectors}:*, and TIME"
        case ReadOnlyError():
            return "is read-only"
        case MovedError():
            return "is a node of a cluster that does not hold the slot of {connectors}: name the node that does"
        case _ if code_of(error) == "WRONGTYPE":
            return f"holds something that is no schema number under {SCHEMA}: it is another program's"
        case _ if code_of(error) == "ERR":
            # a command that is not known comes with what was said in it
            return f"refuses: {str(error).partition(', with args')[0]}"
    return None
