"""The Databricks SDK's unified authentication: of the SDK this is all that is used."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from connectors import ConnectorError, FailedPrecondition, Unauthenticated, Unavailable
from connectors.http import Egress

__all__ = ["SdkSession", "is_configured", "open_session"]

_TIMEOUT = 10  # seconds for one request of the SDK's, and for its own retries
_METADATA_SERVERS = ("169.254.169.254", "metadata.google.internal")  # Azure's, and Google's by both its addresses
_LIFETIME = 60.0  # seconds that headers are used for whose end is not known
_LONGEST_REASON = 300
_REFUSALS = re.compile(  # RFC 6749 §5.2
    "invalid_client|invalid_grant|invalid_request|invalid_scope|unauthorized_client|access_denied|unsupported_grant_type"
)
_SIGNS_ANEW: Final = frozenset({"github-oidc", "github-oidc-azure", "azure-devops-oidc"})
"""Types whose every question for a token fetches one: their end is not asked for."""
_VARIABLES: Final = (
    "ARM_CLIENT_ID",
    "ARM_USE_MSI",
    "DATABRICKS_AUTH_TYPE",
    "DATABRICKS_CLIENT_ID",
    "DATABRICKS_CONFIG_PROFILE",
    "DATABRICKS_GOOGLE_SERVICE_ACCOUNT",
    "DATABRICKS_METADATA_SERVICE_URL",
    "DATABRICKS_OIDC_TOKEN",
    "DATABRICKS_OIDC_TOKEN_ENV",
    "DATABRICKS_OIDC_TOKEN_FILEPATH",
    "DATABRICKS_USERNAME",
    "GOOGLE_CREDENTIALS",
)


def is_configured() -> bool:
    """Whether the environment tells the SDK how to sign in."""
    return any(os.environ.get(name) for name in _VARIABLES)


def open_session(host: str, attributes: Mapping[str, str], egress: Egress) -> SdkSession:
    """Sign in. It blocks, and loads the SDK.

    :param host: the workspace's URL. :param attributes: of the SDK's ``Config``; what is not among them is read from
        the environment.
    :raises ConnectorError: as :func:`_error_of`.
    """
    _follow(egress)
    from databricks.sdk.core import Config  # noqa: PLC0415 - see the module's docstring

    values: dict[str, Any] = {
        **attributes,
        "host": host,
        "http_timeout_seconds": _TIMEOUT,
        "retry_timeout_seconds": _TIMEOUT,
        # Else it renews in threads that the process would wait for at its end.
        "disable_async_token_refresh": True,
    }
    try:
        return SdkSession(Config(**values))
    except Exception as error:
        # the SDK raises whatever its libraries do
        raise _error_of(error) from error


class SdkSession:
    """One identity's ``Config``."""

    RENEWS: ClassVar = 39.0
    """Seconds before a token's end from which the SDK fetches another: 40, less one that the clocks may differ by."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def sign(self) -> tuple[Mapping[str, str], float]:
        """The headers, and for how many seconds they are good. It blocks.

        :raises ConnectorError: as :func:`_error_of`.
        """
        try:
            headers: dict[str, str] = self._config.authenticate()
            lifetime = self._lifetime()
        except Exception as error:
            # as above
            raise _error_of(error) from error
        return headers, lifetime

    def _lifetime(self) -> float:
        if self._config.auth_type in _SIGNS_ANEW:
            return _LIFETIME
        try:
            expiry: datetime | None = self._config.oauth_token().expiry
        except ValueError:  # no OAuth: a password, a metadata service
            return _LIFETIME
        if expiry is None:
            return _LIFETIME
        return max(1.0, (expiry - datetime.now(expiry.tzinfo)).total_seconds())


def _error_of(error: Exception) -> ConnectorError:
    """What the SDK's error means; its words alone tell.

    :returns: Unauthenticated where the identity was refused; FailedPrecondition where none is configured; else
        Unavailable.
    """
    import requests  # noqa: PLC0415 - the SDK's own client

    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    if any(isinstance(cause, requests.RequestException) for cause in causes):
        return Unavailable("Databricks could not be reached for an access token")
    reason = str(error).partition(". Config:")[0].partition(". Env:")[0][:_LONGEST_REASON]
    if "cannot configure default credentials" in reason or "validate: " in reason or "not configured" in reason:
        return FailedPrecondition(f"the server has no usable Databricks credentials: {reason}")
    if _REFUSALS.search(reason):
        return Unauthenticated(f"Databricks refused the credentials: {reason}")
    return Unavailable(f"no access token from Databricks: {reason}")


def _follow(egress: Egress) -> None:
    """Have the SDK's client, which takes its proxy and its authorities from the environment alone, take the operator's.
    What is there already stays. A cloud's metadata server is asked past the operator's proxy: it answers only its own
    machine.
    """
    ca_file = egress.ca_file or os.environ.get("SSL_CERT_FILE")
    if ca_file:
        os.environ.setdefault("REQUESTS_CA_BUNDLE", ca_file)
    if egress.proxy is not None:
        no_proxy = "no_proxy" if os.environ.get("no_proxy") else "NO_PROXY"
        direct = os.environ.get(no_proxy, "")
        os.environ[no_proxy] = ",".join(
            filter(None, [direct, *(each for each in _METADATA_SERVERS if each not in direct)])
        )
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            if name.lower() not in os.environ:
                os.environ.setdefault(name, egress.proxy)
