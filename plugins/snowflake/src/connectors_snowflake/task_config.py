"""A task's ``custom``, as a workflow author writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SnowflakeConfig"]


@dataclass(frozen=True)
class SnowflakeConfig:
    """Where a statement runs, and as whom.

    ``TaskTemplate(type="snowflake", custom=SnowflakeConfig(…).to_custom(), sql=Sql("SELECT 1"))``
    """

    account: str
    """``organization-account``, or a locator with its region and cloud."""
    user: str
    database: str
    warehouse: str
    schema: str = "PUBLIC"
    role: str = ""
    """Empty: the user's default role."""
    batch: bool = False
    """Whether the inputs are columns: the statement's ``VALUES (…)`` is then repeated for each row."""
    authenticator: str = ""
    """``snowflake_jwt`` or ``oauth``; empty: a private key where there is one, else an OAuth token."""
    session_parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Of those that the SQL API lets a request set; also QUERY_TAG and STATEMENT_TIMEOUT_IN_SECONDS."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """The names of secrets, by what they are for: ``snowflake_private_key``, ``snowflake_private_key_passphrase``,
    ``snowflake_oauth_token``."""

    def to_custom(self) -> dict[str, Any]:
        """The task's ``custom``, as Flyte 2's SDK writes it."""
        options = {
            "role": self.role,
            "authenticator": self.authenticator,
            "session_parameters": self.session_parameters,
        }
        given = {
            "account": self.account,
            "user": self.user,
            "database": self.database,
            "schema": self.schema,
            "warehouse": self.warehouse,
            "batch": self.batch,
            "connection_kwargs": {name: value for name, value in options.items() if value},
            "secrets": dict(self.secrets),
        }
        return {name: value for name, value in given.items() if value}
