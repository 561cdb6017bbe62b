"""From a task and its inputs to the request that is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode

from connectors import Context, FailedPrecondition, InvalidRequest, PermissionDenied, TaskTemplate
from connectors_http._hosts import HostRule, Origin, listed
from connectors_http._templates import Placeholder, Values, json_text, pieces, placeholders, text_of
from connectors_http._url import Url, UrlTemplate
from connectors_http.task_config import WebhookConfig

__all__ = ["IDEMPOTENCY_KEY", "WebhookRequest", "check_host"]

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
"""draft-ietf-httpapi-idempotency-key-header; the value is sent bare, as the services that made the header known take
it."""
_IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))  # RFC 9110 §9.2.2
_OF_THE_QUERY: Final = frozenset(("GET", "HEAD"))
_WITH_A_BODY: Final = frozenset(("POST", "PUT", "PATCH"))  # the others have one only where there is data
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # in a header's value (RFC 9110 §5.5)
_OF_CONTENT: Final = frozenset(
    ("content-type", "content-encoding", "content-language", "content-location", IDEMPOTENCY_KEY.lower())
)
_OF_ANY_HOST: Final = _OF_CONTENT | {"accept", "accept-encoding", "accept-language", "user-agent"}
"""Headers that say nothing of who calls; any other one may be a credential, whatever its name."""
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class WebhookRequest:
    """One request, complete."""

    method: str
    url: Url
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    data: Any = field(repr=False)
    """What the task's ``data`` became, for the output ``info``."""
    secret_headers: frozenset[str]
    """Names, in small letters, of the headers that hold a secret."""
    secrets: tuple[str, ...] = field(repr=False)
    """The values of the secrets that it carries."""
    repeatable: bool
    """Whether it may be sent again after an answer that was lost."""

    @classmethod
    async def of(
        cls, config: WebhookConfig, task: TaskTemplate, ctx: Context, secret_rules: Mapping[str, tuple[HostRule, ...]]
    ) -> WebhookRequest:
        """The request that a task asks for.

        :param secret_rules: by secret, the hosts that it may be sent to.
        :raises InvalidRequest: an input is missing, or cannot stand where the task puts it.
        :raises PermissionDenied: a header names a secret that may not be sent there.
        :raises FailedPrecondition: no source has the secret, or a header cannot carry it.
        """
        template = UrlTemplate.parse(config.url)
        secrets = await _secrets(config.headers.values(), template.origin, ctx, secret_rules)
        values = Values(lambda: ctx.inputs, task.interface.inputs, secrets)
        url = template.filled(values)
        headers = {name: _header(name, value, values) for name, value in config.headers.items()}
        lower = {name.lower(): value for name, value in headers.items()}
        data = values.filled(config.data, whole=isinstance(config.data, str))
        body, content_type = None, ""
        if config.method in _OF_THE_QUERY:
            url = url.with_query(urlencode(_parameters(data)))
        elif data or config.method in _WITH_A_BODY:
            body, content_type = _body(config.data, data, lower.get("content-type", ""))
        if content_type and "content-type" not in lower:
            headers["Content-Type"] = content_type
        if config.method not in _IDEMPOTENT and IDEMPOTENCY_KEY.lower() not in lower:
            headers[IDEMPOTENCY_KEY] = ctx.idempotency_key
        return cls(
            method=config.method,
            url=url,
            headers=headers,
            body=body,
            data=data,
            secret_headers=frozenset(
                name.lower() for name, value in config.headers.items() if any(_secret_names((value,)))
            ),
            secrets=tuple(secrets.values()),
            repeatable=config.idempotent or config.method in _IDEMPOTENT,
        )

    def redirected(self, status: int, url: Url) -> WebhookRequest:
        """The request that follows a redirect (RFC 9110 §15.4): a 303 is fetched, and a POST that was answered 301 or
        302 too; otherwise the same is sent again. What identifies the caller goes to the first origin alone.
        """
        fetched = (status == 303 and self.method != "HEAD") or (status in {301, 302} and self.method == "POST")
        dropped = set(_OF_CONTENT) if fetched else set()
        if url.origin != self.url.origin:
            dropped |= self.secret_headers | {name.lower() for name in self.headers} - _OF_ANY_HOST
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        if fetched:
            return replace(self, method="GET", url=url, headers=headers, body=None, repeatable=True)
        return replace(self, url=url, headers=headers)


def check_host(rules: Iterable[HostRule], origin: Origin) -> None:
    """Refuse a host that the operator did not list.

    :raises PermissionDenied: it is one.
    """
    if not listed(rules, origin):
        raise PermissionDenied(
            f"{origin} is not among the hosts that webhooks may call: the operator lists them in hosts "
            "(CONNECTORS_HTTP__HOSTS)"
        )


def _secret_names(templates: Iterable[str]) -> list[str]:
    return [each.path for text in templates for each in placeholders(text) if each.root == "secrets"]


async def _secrets(
    templates: Iterable[str], origin: Origin, ctx: Context, rules: Mapping[str, tuple[HostRule, ...]]
) -> Mapping[str, str]:
    names = dict.fromkeys(_secret_names(templates))
    for name in names:  # before any source is asked
        if name not in rules:
            raise PermissionDenied(
                f"the secret {name[:80]!r} is not one that webhooks may send: the operator lists them in secret_hosts "
                "(CONNECTORS_HTTP__SECRET_HOSTS)"
            )
        if not listed(rules[name], origin):
            raise PermissionDenied(
                f"the secret {name!r} may not be sent to {origin}: the operator lists where it may in secret_hosts "
                "(CONNECTORS_HTTP__SECRET_HOSTS)"
            )
    found = {name: (await ctx.secrets.get(name)).strip() for name in names}
    for name, value in found.items():
        if _UNFIT.search(value):
            raise FailedPrecondition(f"the secret {name!r} holds characters that no header can carry")
    return found


def _header(name: str, template: str, values: Values) -> str:
    text = values.text(template).strip(" \t")
    if _UNFIT.search(text):
        raise InvalidRequest(f"custom.headers, {name}: a line break or another control character cannot be sent")
    return text


def _parameters(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in data.items():
        for item in value if isinstance(value, list) else [value]:
            found.append((name, _parameter(item)))
    return found


def _parameter(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else text_of(value)


def _body(template: Any, data: Any, content_type: str) -> tuple[bytes | None, str]:
    """The body, and its type where the task names none."""
    kind = content_type.partition(";")[0].strip().lower()
    if isinstance(data, str):
        parts = list(pieces(template))
        if _is_json(kind) and any(isinstance(part, Placeholder) for part in parts[1:] or parts[:-1]):
            # a value with a quotation mark in it would become part of the JSON's structure
            raise InvalidRequest("custom.data: write JSON as an object, not as text with placeholders in it")
        return data.encode() or None, "text/plain; charset=utf-8"
    if kind == _FORM:
        if not isinstance(data, Mapping):
            raise InvalidRequest("custom.data: must be a map of fields to values, since Content-Type says a form")
        return urlencode(_parameters(data)).encode(), content_type
    try:
        return json_text(data).encode(), "application/json"
    except ValueError as error:
        raise InvalidRequest("custom.data: holds NaN or an infinity, which have no form in JSON") from error


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")
