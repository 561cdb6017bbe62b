"""Account identifiers: what host they lead to, how a token names them, where their pages are.

https://docs.snowflake.com/en/user-guide/admin-account-identifier: ``organization-account``, or the older locator, with
its region and cloud where they are not the first ones (``xy12345.eu-central-1``, ``xy12345.east-us-2.azure``), and
``privatelink`` at the end for a private connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from connectors import InvalidRequest

__all__ = ["Account", "folded"]

_ACCOUNT = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?){0,3}"
)
_FORM = "an account is 'organization-account', or 'locator.region.cloud': letters, digits, '_', '-' and '.'"
_FIRST_REGION = "us-west-2"


@dataclass(frozen=True)
class Account:
    """A valid account identifier."""

    name: str
    """As the task gave it."""

    @classmethod
    def of(cls, name: str) -> Account:
        """The account of this identifier.

        :raises InvalidRequest: it is none: it would form another host's name, or no name at all.
        """
        if not _ACCOUNT.fullmatch(name):
            raise InvalidRequest(f"account: {name[:80]!r} is no account identifier; {_FORM}")
        if "snowflakecomputing" in name.lower():
            raise InvalidRequest(f"account: leave '.snowflakecomputing.com' out of {name[:80]!r}; {_FORM}")
        return cls(name)

    @property
    def host(self) -> str:
        """The host that serves the account. A host's name has no underscores: Snowflake takes hyphens for them."""
        labels = self.name.lower().replace("_", "-").split(".")
        china = len(labels) > 1 and labels[1].startswith(
            "cn-"
        )  # https://docs.snowflake.com/en/user-guide/intro-regions
        return f"{'.'.join(labels)}.snowflakecomputing.{'cn' if china else 'com'}"

    @property
    def in_tokens(self) -> str:
        """The account as a JWT names it: in capitals, without its region and cloud.

        https://docs.snowflake.com/en/developer-guide/sql-api/authenticating#using-key-pair-authentication
        """
        first, *rest = self.name.split(".")
        if rest and rest[0].lower() == "global":
            first = first.rpartition("-")[0] or first
        return first.upper()

    def query_page(self, query_id: str) -> str:
        """The page of a query in Snowsight."""
        first, *region = [part for part in self.name.split(".") if part.lower() != "privatelink"]
        organization, hyphen, account = first.partition("-")
        by_locator = region or not hyphen
        place = f"{'.'.join(region) or _FIRST_REGION}/{first}" if by_locator else f"{organization}/{account}"
        return f"https://app.snowflake.com/{place}/#/compute/history/queries/{quote(query_id, safe='')}/detail"


def folded(identifier: str) -> str:
    """An identifier as Snowflake keeps it: in capitals, but for one in double quotes.

    The SQL API takes names exactly as they are kept, while drivers (and so Flyte's own connector) take them as SQL
    does: https://docs.snowflake.com/en/sql-reference/identifiers-syntax.
    """
    if len(identifier) > 1 and identifier.startswith('"') and identifier.endswith('"'):
        return identifier[1:-1].replace('""', '"')
    return identifier.upper()
