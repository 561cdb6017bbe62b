"""What a request authenticates with: a JWT signed by a user's private key, or an OAuth token.

https://docs.snowflake.com/en/developer-guide/sql-api/authenticating. PyJWT and cryptography are loaded when a token is
first signed, and work in a thread: an encrypted key takes a tenth of a second to open.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors import InvalidRequest
from connectors.secrets import remember
from connectors_snowflake._accounts import Account, folded

__all__ = ["Credential", "KeyPair", "OAuthToken", "Token", "TokenCache"]

_LIFETIME = 3600  # seconds; Snowflake takes a JWT for no longer, whatever it says
_AHEAD = 300.0  # seconds before its end that a token is replaced
_YOUNG = 30.0  # seconds: a younger token that is refused means that the key is not the user's


@dataclass(frozen=True)
class Token:
    """A bearer token, and the kind that Snowflake is to take it for."""

    value: str = field(repr=False)
    kind: str
    """The value of ``X-Snowflake-Authorization-Token-Type``."""
    made_at: float = 0.0
    """By the cache's clock."""

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


class TokenCache:
    """Signed tokens by credential; the one that was longest not asked for is forgotten first."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, credentials: int = 256) -> None:
        """:param clock: seconds, never going back. :param credentials: how many tokens are kept at most."""
        self._clock = clock
        self._credentials = credentials
        self._tokens: OrderedDict[str, asyncio.Future[Token]] = OrderedDict()

    async def get(self, credential: Credential) -> Token:
        """A token that is good for five minutes at least. Whoever comes while one is being signed waits for it.

        :raises InvalidRequest: the credential is none.
        """
        key = credential.cache_key
        if key is None:
            return credential.sign()
        signing = self._tokens.get(key)
        if signing is None or self._spent(signing):
            signing = self._tokens[key] = asyncio.ensure_future(self._sign(credential))
            signing.add_done_callback(_seen)
        self._tokens.move_to_end(key)
        if len(self._tokens) > self._credentials:
            self._tokens.popitem(last=False)
        # shielded: a caller that gives up does not take the token from those who wait with it
        return await asyncio.shield(signing)

    def refused(self, credential: Credential, token: Token) -> bool:
        """Snowflake did not accept ``token``: forget it, unless it is brand-new. Whether another one may help."""
        key = credential.cache_key
        if key is None or self._clock() - token.made_at < _YOUNG:
            return False
        signing = self._tokens.get(key)
        if signing is not None and not self._spent(signing) and signing.done() and signing.result() is token:
            del self._tokens[key]
        return True

    async def aclose(self) -> None:
        """End what is under way."""
        for signing in self._tokens.values():
            _ = signing.cancel()
        await asyncio.gather(*self._tokens.values(), return_exceptions=True)

    def _spent(self, signing: asyncio.Future[Token]) -> bool:
        if not signing.done():
            return False
        if signing.cancelled() or signing.exception() is not None:
            return True
        return self._clock() > signing.result().made_at + _LIFETIME - _AHEAD

    async def _sign(self, credential: Credential) -> Token:
        made_at = self._clock()  # counting from here errs on the safe side
        token = await asyncio.to_thread(credential.sign)
        return Token(token.value, token.kind, made_at)


def _seen(signing: asyncio.Future[Token]) -> None:
    """Nobody may be waiting any more for what went wrong."""
    if not signing.cancelled():
        _ = signing.exception()
