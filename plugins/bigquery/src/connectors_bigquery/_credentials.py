"""Whose access token a call uses: the request's service account, or the server's own credentials.

google-auth is loaded when a token is first needed, and runs in a thread: it blocks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

from connectors import (
    DeadlineExceeded,
    FailedPrecondition,
    HttpClient,
    HttpResponse,
    InvalidRequest,
    PermissionDenied,
    Secrets,
    Unauthenticated,
    Unavailable,
)
from connectors.http import Egress
from connectors_bigquery._tokens import Grant, Identity

__all__ = ["SECRET", "TOKEN_URL", "ApplicationDefault", "Found", "ServiceAccount", "identity_for"]

SECRET: Final = "google_application_credentials"  # noqa: S105 - a name
"""The name of the secret that may hold a service account's key, as JSON."""
TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)  # as Google's own BigQuery client
_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME = 3600  # seconds; Google grants no more
_TIMEOUT = 10.0  # seconds for the token endpoint


@dataclass(frozen=True)
class Found:
    """An identity, and how its secret is found again."""

    identity: Identity
    name: str | None = None
    """What the task calls the secret, where it was found by that."""
    reference: str | None = None
    """Where it was found, as far as its name does not say."""


async def identity_for(
    secrets: Secrets, default: ApplicationDefault, *, named: str = "", reference: str = "", token_url: str = TOKEN_URL
) -> Found:
    """The service account in the call's secrets; without one, ``default``.

    ``GOOGLE_APPLICATION_CREDENTIALS`` in the environment has the secret's name, but is the path that the application
    default credentials are read from.

    :param named: what the task calls the secret: looked for first, as Flyte 2 sends its value by the secret's own name,
        where it sends it. :param reference: under which a create found it.
    :raises InvalidRequest: the secret is not a service account's key.
    :raises FailedPrecondition, PermissionDenied: the secret is not to be had where the reference leads.
    """
    for name in dict.fromkeys((named or SECRET, SECRET)):
        try:
            value = await secrets.find(name, reference=reference)
            if value is None or (name == SECRET and _is_the_path(value)):
                continue
            secret = await secrets.look_up(name, reference=reference)
        except (FailedPrecondition, InvalidRequest, PermissionDenied):
            if name == SECRET or reference:
                raise
            continue  # a name of the workflow author's, which this server need not know
        account = ServiceAccount.parse(secret.value, token_url=token_url)
        return Found(account, name if name != SECRET else None, secret.reference or None)
    return Found(default)


def _is_the_path(value: str) -> bool:
    return value == os.environ.get(SECRET.upper()) and not value.lstrip().startswith("{")


@dataclass(frozen=True)
class ServiceAccount:
    """A service account's key: https://developers.google.com/identity/protocols/oauth2/service-account."""

    email: str
    key_id: str
    private_key: str = field(repr=False)
    token_url: str = TOKEN_URL

    @classmethod
    def parse(cls, text: str, *, token_url: str = TOKEN_URL) -> ServiceAccount:
        """The key in a JSON file of Google's.

        Other kinds of credentials name addresses that the server would call, or commands that it would run: they are
        refused, and so is a token address that is not Google's.

        :raises InvalidRequest: it is none.
        """
        try:
            info = json.loads(text)
        except ValueError:
            raise InvalidRequest(f"the secret {SECRET!r} is not JSON: it must be a service account's key") from None
        if not isinstance(info, Mapping) or info.get("type") != "service_account":
            raise InvalidRequest(
                f"the secret {SECRET!r} must be a service account's key: its 'type' must be 'service_account'"
            )
        if info.get("token_uri", TOKEN_URL) != TOKEN_URL:
            raise InvalidRequest(f"the secret {SECRET!r} names another 'token_uri' than {TOKEN_URL}")
        for name in ("client_email", "private_key"):
            if not isinstance(info.get(name), str) or not info[name]:
                raise InvalidRequest(f"the secret {SECRET!r} has no {name!r}")
        return cls(info["client_email"], str(info.get("private_key_id") or ""), info["private_key"], token_url)

    @cached_property
    def key(self) -> str:
        parts = (self.email, self.key_id, self.private_key, self.token_url)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    async def fetch(self, http: HttpClient) -> Grant:
        """One signed assertion for one token, from the pinned address alone."""
        assertion = await asyncio.to_thread(self._assertion)
        form = urlencode({"grant_type": _GRANT_TYPE, "assertion": assertion}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = await http.request("POST", self.token_url, headers=headers, body=form, timeout=_TIMEOUT)
        except DeadlineExceeded as error:
            raise Unavailable(error.message) from error
        return _grant(answer)

    def _assertion(self) -> str:
        from google.auth import crypt, jwt  # noqa: PLC0415 - see the module's docstring

        try:
            signer = crypt.RSASigner.from_string(self.private_key, self.key_id)  # type: ignore[no-untyped-call]
        except Exception as error:
            # whatever the cryptography library says of a key that is none
            raise InvalidRequest(
                f"the secret {SECRET!r} has a 'private_key' that is not an RSA key in PEM form"
            ) from error
        now = int(time.time())
        claims = {"iss": self.email, "scope": " ".join(_SCOPES), "aud": TOKEN_URL, "iat": now, "exp": now + _LIFETIME}
        token: bytes = jwt.encode(signer, claims)  # type: ignore[no-untyped-call]
        return token.decode("ascii")


def _grant(answer: HttpResponse) -> Grant:
    if answer.status == 429 or answer.status >= 500:
        raise Unavailable(f"Google's token endpoint answered HTTP {answer.status}")
    body = answer.json()
    fields = body if isinstance(body, Mapping) else {}
    if answer.status >= 300:
        reason = fields.get("error_description") or fields.get("error") or "no reason given"
        raise Unauthenticated(f"Google gave no access token (HTTP {answer.status}): {str(reason)[:300]}")
    value, lifetime = fields.get("access_token"), fields.get("expires_in")
    if not isinstance(value, str) or not isinstance(lifetime, int | float) or lifetime <= 0:
        raise Unavailable("Google's token endpoint answered without a token")
    return Grant(value, float(lifetime))


class ApplicationDefault:
    """The server's own credentials, found as Google's libraries find them.

    https://cloud.google.com/docs/authentication/application-default-credentials: the file that
    ``GOOGLE_APPLICATION_CREDENTIALS`` names, gcloud's user credentials, then the metadata server of Google Cloud.
    """

    key = "application-default"

    def __init__(self) -> None:
        self._found: Any = None

    async def fetch(self, http: HttpClient) -> Grant:
        """Find the credentials once, then refresh them.

        :raises FailedPrecondition: there are none, or the operator's proxy or certificates cannot be used.
        :raises Unauthenticated: they were refused. :raises Unavailable: Google did not answer.
        """
        return await asyncio.to_thread(self._refresh, http.egress)

    def _refresh(self, egress: Egress) -> Grant:
        # see the module's docstring
        import google.auth  # noqa: PLC0415
        from google.auth import exceptions  # noqa: PLC0415

        from connectors_bigquery._transport import Transport  # noqa: PLC0415 - it imports google-auth

        transport = Transport(egress)
        try:
            if self._found is None:
                self._found, _ = google.auth.default(scopes=_SCOPES, request=transport)
            self._found.refresh(transport)
        except exceptions.DefaultCredentialsError as error:
            raise FailedPrecondition(
                "the server has no Google credentials: set GOOGLE_APPLICATION_CREDENTIALS, run it with a service "
                f"account, or send the secret {SECRET!r}"
            ) from error
        except exceptions.GoogleAuthError as error:
            if isinstance(error, exceptions.TransportError) or error.retryable:
                raise Unavailable("Google could not be reached for an access token") from error
            self._found = None  # a rotated key file is read by the next attempt
            raise Unauthenticated("Google refused the server's own credentials") from error
        return Grant(str(self._found.token), self._lifetime(), getattr(self._found, "quota_project_id", None))

    def _lifetime(self) -> float:
        expiry: datetime | None = self._found.expiry  # in UTC, and naive
        if expiry is None:
            return float(_LIFETIME)
        return (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
