"""Acme's API: one request, its answer, and what a refusal means.

Nothing is tried again here: an error's class says whether another try may help, and the service makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connectors import Context, HttpResponse, InvalidRequest, Unavailable, error_for_status

from connectors_acme.settings import AcmeSettings

__all__ = ["TOKEN", "arguments", "members", "send"]

TOKEN = "acme_token"
"""The secret's name: of a variable, in capitals, or of a file in /etc/secrets, say."""


async def send(
    settings: AcmeSettings,
    ctx: Context,
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    key: str = "",
) -> HttpResponse:
    """One request.

    :param key: names the request: a repeat of it is carried out once.
    :raises ConnectorError: as the platform says, or that it could not be asked.
    """
    headers = {"Authorization": f"Bearer {await ctx.secrets.get(TOKEN)}"}
    if key:
        headers["Idempotency-Key"] = key
    answer = await ctx.http.request(
        method,
        settings.endpoint.rstrip("/") + path,
        headers=headers,
        json=body,
        timeout=min(settings.request_timeout, ctx.remaining()),
    )
    if answer.status >= 400:
        message = f"Acme answered HTTP {answer.status} to {method} {path}{_reason(answer)}"
        raise error_for_status(answer.status, message, answer.headers)
    return answer


def members(answer: HttpResponse) -> dict[str, Any]:
    """The answer's JSON object.

    :raises Unavailable: it is none: a proxy's page, say. A job may have been made all the same.
    """
    found = answer.json()
    if not isinstance(found, dict):
        raise Unavailable("Acme's answer is not a JSON object")
    return found


def arguments(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A task's inputs, as the platform takes them.

    :raises InvalidRequest: JSON has no form for one.
    """
    for name, value in inputs.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            kind = type(value).__name__
            raise InvalidRequest(f"input {name}: must be a JSON value, not {kind}") from error
    return dict(inputs)


def _reason(answer: HttpResponse) -> str:
    try:
        shown = members(answer)
    except Unavailable:
        return ""
    reason = shown.get("message") or shown.get("error")
    return f": {reason[:300]}" if isinstance(reason, str) else ""
