"""What an operator may set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from connectors_openai._parameters import is_identifier

__all__ = ["BASE_URL_VARIABLE", "DEFAULT_BASE_URL", "OpenAISettings"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"
BASE_URL_VARIABLE = "OPENAI_BASE_URL"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class OpenAISettings:
    """The plugin's settings: ``CONNECTORS_OPENAI__<FIELD>``, or ``[plugins.openai]``.

    :raises ValueError: a value is out of its range.
    """

    base_url: str = ""
    """Where the API is. "": what ``OPENAI_BASE_URL`` says, else OpenAI's own. It is the operator's alone: no task can
    choose it, since API keys are sent there."""

    allow_http: bool = False
    """Whether the base URL may be http to another machine: API keys then cross the network in the clear."""

    organization: str = ""
    """The organisation of tasks that name none. "": what ``OPENAI_ORG_ID`` says, else the key's own."""

    project: str = ""
    """The project of tasks that name none. "": what ``OPENAI_PROJECT_ID`` says, else the key's own."""

    answer_timeout: float = 600.0
    """Seconds for a model's answer (a chat's, embeddings), above 0. A call's own deadline, where it is nearer, wins."""

    request_timeout: float = 20.0
    """Seconds for any other exchange, above 0; so too."""

    connections: int = 100
    """Connections at once of each connector, 1 or more: further calls wait for one."""

    search_window: float = 24 * 3600.0
    """Seconds, 60 or more: how far back the create of a batch looks for the one that an earlier try of it made. It is
    one request for every 100 batches that were made in that time."""

    inline_bytes: int = 256 * 1024
    """The records of a batch's output or error file that is no larger come back in the task's output; 0 or more."""

    def __post_init__(self) -> None:
        check_base_url(self.base_url, "base_url", allow_http=self.allow_http, or_empty=True)
        for name in ("organization", "project"):
            value = getattr(self, name)
            if value and not is_identifier(value):
                raise ValueError(f"{name}: must be an identifier of OpenAI's, letters, digits, '_' and '-'")
        for name in ("answer_timeout", "request_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0 seconds")
        if self.connections < 1:
            raise ValueError("connections: must be 1 or more")
        if not self.search_window >= 60:
            raise ValueError("search_window: must be 60 seconds or more")
        if self.inline_bytes < 0:
            raise ValueError("inline_bytes: must be 0 or more")


def base_url_of(settings: OpenAISettings) -> str:
    """The base URL in force, without a slash at its end.

    :raises ValueError: ``OPENAI_BASE_URL`` holds none that may be used.
    """
    if settings.base_url:
        return settings.base_url.rstrip("/")
    value = os.environ.get(BASE_URL_VARIABLE, "").strip() or DEFAULT_BASE_URL
    check_base_url(value, BASE_URL_VARIABLE, allow_http=settings.allow_http)
    return value.rstrip("/")


def check_base_url(value: str, name: str, *, allow_http: bool, or_empty: bool = False) -> None:
    """:raises ValueError: it is no URL of an API, or keys would be sent there in the clear."""
    if or_empty and not value:
        return
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in {"http", "https"} or not host or port == 0 or parts.query or parts.fragment:
        raise ValueError(f"{name}: must be a URL like {DEFAULT_BASE_URL}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{name}: must hold no credentials; the API key is a secret")
    if parts.scheme != "https" and host not in _LOOPBACK and not allow_http:
        raise ValueError(f"{name}: must be https, since API keys are sent there; allow_http allows http")
