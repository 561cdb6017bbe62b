"""What an operator may set."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from connectors import InvalidRequest
from connectors_snowflake._accounts import Account

__all__ = ["SnowflakeSettings"]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class SnowflakeSettings:
    """The plugin's settings: ``CONNECTORS_SNOWFLAKE__<FIELD>``, or ``[plugins.snowflake]``.

    :raises ValueError: a value is out of its range.
    """

    accounts: tuple[str, ...] = ()
    """The accounts that tasks may name, as ``org-account`` or ``locator.region.cloud``; case and ``_`` or ``-`` make no
    difference. ``*`` lists every account under ``snowflakecomputing.com``. Empty: none, or with an ``endpoint`` all:
    credentials go there then, whatever account is named."""

    endpoint: str = ""
    """The URL that every account is reached at, in place of ``https://<account>.snowflakecomputing.com``: a private
    link, say. It must be https, unless it is this machine's, since credentials go there."""

    request_timeout: float = 20.0
    """Seconds for one HTTP exchange, above 0. A call's own deadline, where it is nearer, wins."""

    look_up_first: bool = True
    """Whether each create looks first for the statement that an earlier try of it made. False: only a create of whose
    earlier try the service does not know the outcome; then a lost store may let a statement run twice."""

    look_up_warehouse: str = ""
    """The warehouse that looks up statements: a small one that is not kept busy. Empty: the task's own."""

    def __post_init__(self) -> None:
        for account in self.accounts:
            try:
                if account != "*":
                    Account.of(account)
            except InvalidRequest as error:
                raise ValueError(f"accounts: {error.message}") from None
        if self.endpoint:
            _check_endpoint(self.endpoint)
        if not self.request_timeout > 0:
            raise ValueError("request_timeout: must be above 0 seconds")

    def lists(self, account: Account) -> bool:
        """Whether the operator listed this account."""
        return "*" in self.accounts or any(Account.of(listed).host == account.host for listed in self.accounts)


def _check_endpoint(value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"endpoint: {value[:200]!r} is not a URL like https://org-account.snowflakecomputing.com")
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ValueError("endpoint: must be https, since credentials are sent there")
