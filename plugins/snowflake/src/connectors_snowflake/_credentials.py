"""Which secret a call authenticates with, and where it may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from connectors import ConnectorError, FailedPrecondition, InvalidRequest, PermissionDenied, Secrets
from connectors_snowflake._accounts import Account
from connectors_snowflake._tokens import Credential, KeyPair, OAuthToken
from connectors_snowflake.settings import SnowflakeSettings

__all__ = ["SECRETS", "Authenticator", "Found", "Wanted", "authenticator_of", "credential_for", "endpoint_of"]

PRIVATE_KEY: Final = "snowflake_private_key"
PASSPHRASE: Final = "snowflake_private_key_passphrase"  # noqa: S105 - a name
OAUTH_TOKEN: Final = "snowflake_oauth_token"  # noqa: S105 - a name
SECRETS: Final = (PRIVATE_KEY, PASSPHRASE, OAUTH_TOKEN)
"""What secrets are for, which is also their names where a task gives no others."""

Authenticator = Literal["", "snowflake_jwt", "oauth"]
"""As the drivers name it; "": a private key where there is one, else an OAuth token."""


def authenticator_of(options: Mapping[str, Any]) -> Authenticator:
    """The kind of credential that the connection asks for.

    :raises InvalidRequest: it is one that the SQL API does not take.
    """
    match str(options.get("authenticator") or "").lower():
        case "snowflake_jwt":
            return "snowflake_jwt"
        case "oauth":
            return "oauth"
        case "" | "snowflake":  # the drivers' default, which a private key replaces
            return ""
        case _:
            raise InvalidRequest("connection_kwargs.authenticator must be 'snowflake_jwt' or 'oauth'")


def endpoint_of(account: Account, settings: SnowflakeSettings) -> str:
    """The URL that the account is reached at, without a slash at its end."""
    return settings.endpoint.rstrip("/") or f"https://{account.host}"


@dataclass(frozen=True)
class Wanted:
    """Whose credential a call needs, and where it may be."""

    account: Account
    user: str
    authenticator: Authenticator
    names: Mapping[str, str]
    """What the task calls its secrets, by what they are for."""
    references: Mapping[str, str]
    """Under which a create found them, by what they are for."""


@dataclass(frozen=True)
class Found:
    """A credential, and how its secrets are found again: by what they are for, as far as that does not say it."""

    credential: Credential
    names: Mapping[str, str]
    references: Mapping[str, str]


async def credential_for(wanted: Wanted, secrets: Secrets, settings: SnowflakeSettings) -> Found:
    """What the call shows to Snowflake.

    :raises PermissionDenied: the operator did not list the account, or a secret is not for this connector.
    :raises FailedPrecondition: there is no credential.
    """
    check_account(wanted.account, settings)
    lookup = _Lookup(secrets, wanted)
    credential: Credential | None = None
    if wanted.authenticator != "oauth" and (key := await lookup.find(PRIVATE_KEY)) is not None:
        credential = KeyPair(wanted.account, wanted.user, key, await lookup.find(PASSPHRASE))
    elif wanted.authenticator != "snowflake_jwt" and (token := await lookup.find(OAUTH_TOKEN)) is not None:
        credential = OAuthToken(token)
    if credential is None:
        raise lookup.reason()
    return Found(credential, lookup.names, lookup.references)


def check_account(account: Account, settings: SnowflakeSettings) -> None:
    """:raises PermissionDenied: credentials may not go to this account."""
    if settings.lists(account) or (settings.endpoint and not settings.accounts):
        return
    raise PermissionDenied(
        f"the account {account.name!r} is not one that the operator lists: see CONNECTORS_SNOWFLAKE__ACCOUNTS"
    )


class _Lookup:
    """A call's secrets, by what they are for."""

    def __init__(self, secrets: Secrets, wanted: Wanted) -> None:
        self._secrets = secrets
        self._wanted = wanted
        self._refusals: list[ConnectorError] = []
        self.names: dict[str, str] = {}
        self.references: dict[str, str] = {}

    async def find(self, purpose: str) -> str | None:
        """By the task's name for it, then by its own: Flyte 2 sends it by that."""
        names = dict.fromkeys((self._wanted.names.get(purpose, purpose), purpose))
        for name in names:
            try:
                found = await self._secrets.look_up(name, reference=self._wanted.references.get(purpose, ""))
            except (FailedPrecondition, PermissionDenied) as refusal:
                if purpose != PASSPHRASE:
                    self._refusals.append(refusal)
                continue
            if name != purpose:
                self.names[purpose] = name
            if found.reference:
                self.references[purpose] = found.reference
            return found.value
        return None

    def reason(self) -> ConnectorError:
        """Why there is no credential."""
        denied = next((refusal for refusal in self._refusals if isinstance(refusal, PermissionDenied)), None)
        if denied is not None:
            return denied
        reasons = "; ".join(refusal.message for refusal in self._refusals)
        return FailedPrecondition(f"there is no credential for Snowflake: {reasons}")
