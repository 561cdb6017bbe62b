"""google-auth's own HTTP client, led the way that the operator set. It blocks, and is imported when first needed."""

from __future__ import annotations

import os
from typing import Any

from google.auth.transport.requests import Request

from connectors import FailedPrecondition
from connectors.http import Egress

__all__ = ["Transport"]

_OTHER_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # which the client reads by itself


class Transport(Request):
    """What google-auth sends its requests with."""

    def __init__(self, egress: Egress) -> None:
        super().__init__()
        self._egress = egress

    def __call__(self, url: str, *arguments: Any, **named: Any) -> Any:
        """One exchange; the arguments are those of google-auth's own.

        :raises FailedPrecondition: the proxy, or the file of certificate authorities, cannot be used.
        """
        try:
            return super().__call__(url, *arguments, **{**self._way(url), **named})  # type: ignore[no-untyped-call]
        except OSError as error:  # of its errors this one alone is not google-auth's
            raise FailedPrecondition("the file of certificate authorities for Google cannot be read") from error

    def _way(self, url: str) -> dict[str, Any]:
        if not url.startswith("https:"):
            return {"proxies": {"http": None}}  # the metadata server, which is this machine's alone
        way: dict[str, Any] = {}
        if proxy := self._egress.proxy_for(url):
            way["proxies"] = {"https": proxy}
        authorities = self._egress.ca_file
        if authorities is None and not any(os.environ.get(name) for name in _OTHER_AUTHORITIES):
            authorities = os.environ.get("SSL_CERT_FILE")
        if authorities:
            way["verify"] = authorities
        return way
