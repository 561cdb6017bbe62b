"""What a request authenticates with: a JWT signed by a user's private key, or an OAuth token.

https://docs.snowflake.com/en/developer-guide/sql-api/authenticating. PyJWT and cryptography are loaded when a token is
first signed, and work in a thread: an encrypted key takes a tenth of a second to open.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors import InvalidRequest
from connectors.secrets import remember
from connectors.tokens import TokenCache
from connectors_snowflake._accounts import Account, folded

__all__ = ["Credential", "KeyPair", "OAuthToken", "Token", "refused", "token_cache", "token_of"]

_LIFETIME = 3600  # seconds; Snowflake takes a JWT for no longer, whatever it says
_SERVES = _LIFETIME - 60.0  # seconds; the rest is for clocks that differ, and for the way
_AHEAD = 240.0  # seconds before a token has served that it is replaced: five minutes before its end


@dataclass(frozen=True)
class Token:
    """A bearer token, and the kind that Snowflake is to take it for."""

    value: str = field(repr=False)
    kind: str
    """The value of ``X-Snowflake-Authorization-Token-Type``."""

    def headers(self) -> dict[str, str]:
        """What a request carries."""
        return {"Authorization": f"Bearer {self.value}", "X-Snowflake-Authorization-Token-Type": self.kind}


class Credential(Protocol):
    """Who asks, and how that is shown."""

    @property
    def cache_key(self) -> str | None:
        """The same for the same credential, and not a secret; None: its token is not worth keeping."""

    def sign(self) -> Token:
        """A token that is good now. It may block.

        :raises InvalidRequest: the credential is none.
        """


@dataclass(frozen=True)
class OAuthToken:
    """A token that somebody else fetched."""

    value: str = field(repr=False)

    @property
    def cache_key(self) -> str | None:
        return None

    def sign(self) -> Token:
        return Token(self.value, "OAUTH")


@dataclass(frozen=True)
class KeyPair:
    """A user's private key: https://docs.snowflake.com/en/user-guide/key-pair-auth."""

    account: Account
    user: str
    """As the task gave it; ``"…"`` keeps its case."""
    private_key: str = field(repr=False)
    """PEM, PKCS #8 or PKCS #1, encrypted or not. ``\\n`` may stand for its line ends, as some secret stores need it."""
    passphrase: str | None = field(default=None, repr=False)

    @property
    def cache_key(self) -> str | None:
        parts = (self.account.in_tokens, self.user, self.private_key, self.passphrase or "")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def sign(self) -> Token:
        """A JWT of an hour: ``sub`` is the user, ``iss`` the user and the public key's fingerprint.

        :raises InvalidRequest: the key is no RSA key in PEM form, or the passphrase does not open it.
        """
        import jwt  # noqa: PLC0415 - see the module's docstring

        key = self._opened()
        subject = f"{self.account.in_tokens}.{folded(self.user)}"
        now = int(time.time())
        claims = {"iss": f"{subject}.{_fingerprint(key)}", "sub": subject, "iat": now, "exp": now + _LIFETIME}
        token = jwt.encode(claims, key, algorithm="RS256")
        remember(token)  # it opens the account for an hour: no log line may show it
        return Token(token, "KEYPAIR_JWT")

    def _opened(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

        pem = self.private_key.strip().replace("\\n", "\n").encode()
        encrypted = b"ENCRYPTED" in pem
        if encrypted and not self.passphrase:
            raise InvalidRequest("the secret 'snowflake_private_key' is encrypted, and there is no passphrase for it")
        try:
            key = load_pem_private_key(pem, (self.passphrase or "").encode() if encrypted else None)
        except Exception as error:
            # whatever the library says of a key that is none
            what = "is not a key in PEM form, or its passphrase is wrong" if encrypted else "is not a key in PEM form"
            raise InvalidRequest(f"the secret 'snowflake_private_key' {what}") from error
        if not isinstance(key, RSAPrivateKey):
            raise InvalidRequest("the secret 'snowflake_private_key' must be an RSA key")
        return key


def _fingerprint(key: Any) -> str:
    """The public key's, as ``DESCRIBE USER`` shows it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"SHA256:{base64.b64encode(hashlib.sha256(public).digest()).decode('ascii')}"


def token_cache(clock: Callable[[], float]) -> TokenCache[Token]:
    """Signed tokens for the whole server. :param clock: seconds, never going back."""
    return TokenCache("Snowflake", ahead=_AHEAD, clock=clock)


async def token_of(credential: Credential, tokens: TokenCache[Token]) -> Token:
    """A token that is good now.

    :raises InvalidRequest: the credential is none.
    :raises Unavailable: it took too long to sign.
    """
    key = credential.cache_key
    if key is None:
        return credential.sign()

    async def signed(_previous: Token | None) -> tuple[Token, float]:
        return await asyncio.to_thread(credential.sign), _SERVES

    return await tokens.get(key, signed)


def refused(credential: Credential, tokens: TokenCache[Token], token: Token) -> bool:
    """Snowflake did not accept ``token``: forget it, unless it is brand-new. Whether another one may help."""
    return credential.cache_key is not None and tokens.refused(credential.cache_key, token)
