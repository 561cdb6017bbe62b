"""Whose credentials a call uses: the task's, its namespace's, or the deployment's.

What a task chose goes into the meta, as names and places: get and delete find the same credentials by it. No value
does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from connectors import Context, FailedPrecondition, InvalidRequest, PermissionDenied
from connectors.secrets import remember
from connectors_databricks._custom import mapping, text
from connectors_databricks._sdk import is_configured
from connectors_databricks._signing import Credentials
from connectors_databricks._workspaces import Workspace
from connectors_databricks.settings import DatabricksSettings

__all__ = ["SECRET_NAMES", "SignIn", "credentials_of"]

TOKEN_SECRET: Final = "databricks-token"  # noqa: S105 - a name
"""Kubernetes' secret in the workflow's namespace, whose key is ``token``: Flyte 1's."""
REQUEST_SECRET: Final = "databricks_token"  # noqa: S105 - a name
"""Flyte 2's."""
DEPLOYMENT_SECRET: Final = "FLYTE_DATABRICKS_ACCESS_TOKEN"  # noqa: S105 - a name
OAUTH_SECRET: Final = "databricks-oauth"  # noqa: S105 - a name
"""Kubernetes' secret with the keys ``client_id`` and ``client_secret``."""
_CLIENT_ID, _CLIENT_SECRET = "databricks_client_id", "databricks_client_secret"
_OF_THE_SDK: Final = {
    "client_secret": _CLIENT_SECRET,
    "azure_client_secret": "arm_client_secret",
    "google_credentials": "google_credentials",
}
"""What of the SDK's configuration is secret, and the secrets that may hold it."""
SECRET_NAMES: Final = (
    TOKEN_SECRET,
    REQUEST_SECRET,
    DEPLOYMENT_SECRET,
    OAUTH_SECRET,
    _CLIENT_ID,
    *_OF_THE_SDK.values(),
)

_NAMED_TOKEN: Final = "secret"  # noqa: S105 - a kind
_M2M: Final = "oauth-m2m"
_OIDC: Final = "file-oidc"
_KINDS: Final = {"pat": "pat", "oauth_m2m": _M2M, "oidc_federation": _OIDC, _M2M: _M2M, _OIDC: _OIDC}
"""What a task may choose, in the reference service's words and in the SDK's."""
_IN_A_META: Final = {_M2M: "oauth_m2m", _OIDC: "oidc_federation"}
_BY_KUBERNETES = re.compile(r"kubernetes:([^/]+)/([^/]+)/([^/]*)")


@dataclass(frozen=True)
class SignIn:
    """What a task or a meta says about its credentials; "" leaves it to the deployment."""

    kind: str = ""
    """``pat``, ``secret`` (a token, in the secret that is named), ``oauth-m2m`` or ``file-oidc``."""
    client_id: str = ""
    secret: str = ""
    """A secret's name."""
    place: str = ""
    """Where the secret was found: Kubernetes' namespace, or another reference."""
    alias: str = ""
    """What a task of Flyte 2 calls its token, which the request has by the token's own name, if at all."""

    @classmethod
    def of_task(cls, custom: Mapping[str, Any], settings: DatabricksSettings) -> SignIn:
        """What a task chose.

        :raises InvalidRequest: a way to sign in that is not known, or a file that is not the operator's.
        """
        chosen = text(custom, "databricksAuthType")
        if chosen and chosen not in _KINDS:
            known = ", ".join(("pat", *_IN_A_META.values()))
            raise InvalidRequest(f"the task's custom.databricksAuthType is {chosen[:40]!r}: expected one of {known}")
        file = text(custom, "databricksOidcTokenFile")
        if file and file != settings.or_environment("oidc_token_file"):
            # It would be read here, and sent to Databricks.
            raise InvalidRequest("the task's custom.databricksOidcTokenFile is not the file that the operator set")
        token_secret = text(custom, "databricksTokenSecret")
        kind = _KINDS.get(chosen, "")
        if token_secret and kind in {"", "pat"}:
            return cls(_NAMED_TOKEN, secret=token_secret)
        return cls(
            kind,
            client_id=text(custom, "databricksClientId"),
            secret=text(custom, "databricksOauthSecret") if kind == _M2M else "",
            alias=text(mapping(custom, "secrets"), REQUEST_SECRET),
        )

    @classmethod
    def of_meta(cls, auth_type: str | None, client_id: str | None, secret: str | None, namespace: str | None) -> SignIn:
        """What a meta's fields say, in the words of the reference service's metas.

        :raises InvalidRequest: a way to sign in that is not known.
        """
        if auth_type and auth_type != _NAMED_TOKEN and auth_type not in _KINDS:
            raise InvalidRequest(f"the resource meta's auth_type {auth_type[:40]!r} is not known")
        kind = _KINDS.get(auth_type or "", auth_type or "")
        named = (secret or "") if kind in {_NAMED_TOKEN, _M2M} else ""
        return cls(kind, client_id or "", named, namespace or "")

    def fields(self) -> dict[str, str]:
        """The meta's fields; none where there is nothing to say, so that either Flyte's connector reads it."""
        values = {
            "auth_type": _IN_A_META.get(self.kind, self.kind),
            "client_id": self.client_id,
            "oauth_secret_name": self.secret,
            "namespace": self.place,
        }
        return {name: value for name, value in values.items() if value}


async def credentials_of(
    wanted: SignIn, ctx: Context, workspace: Workspace, settings: DatabricksSettings, *, last_resort: str = ""
) -> tuple[Credentials, SignIn]:
    """The credentials, and what finds them again.

    :param last_resort: a token that a meta of the reference service holds, for where nothing else is configured.
    :raises FailedPrecondition: there are none. :raises PermissionDenied: a secret that this plugin may not read.
    """
    kind = wanted.kind or _kind_of(settings)
    if kind in {"", "pat", _NAMED_TOKEN}:
        found = await _token(wanted, ctx)
        if found is not None:
            token, sign_in = found
            return Credentials(workspace.url, token=token), sign_in
    if kind == _M2M:
        return await _machine(wanted, ctx, workspace, settings)
    if kind == _OIDC:
        return _federated(wanted, workspace, settings), wanted
    is_bare = kind in {"", "pat", _NAMED_TOKEN}
    if is_bare and last_resort and (kind == "pat" or not is_configured()):
        remember(last_resort)
        return Credentials(workspace.url, token=last_resort), wanted
    if kind == "pat" or (is_bare and not is_configured()):
        names = ", ".join(repr(name) for name in (wanted.secret, wanted.alias, *_token_names(ctx)) if name)
        raise FailedPrecondition(f"there is no Databricks token: none of the secrets {names} was found")
    return await _deployments(kind if not is_bare else "", ctx, workspace, settings), wanted


def _kind_of(settings: DatabricksSettings) -> str:
    """The deployment's own, in the SDK's words."""
    kind = settings.or_environment("auth_type")
    return _KINDS.get(kind, kind)


def _token_names(ctx: Context) -> tuple[str, ...]:
    """By which names a token is known; each SDK's own comes first."""
    own = (REQUEST_SECRET, TOKEN_SECRET) if ctx.protocol == "flyte2" else (TOKEN_SECRET, REQUEST_SECRET)
    return (*own, DEPLOYMENT_SECRET)


async def _token(wanted: SignIn, ctx: Context) -> tuple[str, SignIn] | None:
    names = dict.fromkeys(name for name in (wanted.secret, wanted.alias, *_token_names(ctx)) if name)
    for name in names:
        is_referred = bool(wanted.place) and name == (wanted.secret or TOKEN_SECRET)
        try:
            found = await _find(ctx, name, "token", wanted.place if is_referred else "")
        except (FailedPrecondition, InvalidRequest, PermissionDenied):
            # A name of the workflow author's is one that this server need not know. And a meta of the reference
            # service names its namespace always: this server need not read secrets there.
            if wanted.kind != "pat" and name != wanted.alias:
                raise
            found = None
        if found is not None:
            value, place = found
            if name == TOKEN_SECRET and name != wanted.secret:
                return value, SignIn(place=place)
            if place or name in {wanted.secret, wanted.alias}:
                return value, SignIn(_NAMED_TOKEN, secret=name, place=place)
            return value, SignIn()
    return None


async def _machine(
    wanted: SignIn, ctx: Context, workspace: Workspace, settings: DatabricksSettings
) -> tuple[Credentials, SignIn]:
    """OAuth for machines: https://docs.databricks.com/dev-tools/auth/oauth-m2m."""
    first = wanted.secret or OAUTH_SECRET
    name, secret, client_id = first, None, None
    for name in dict.fromkeys((first, _CLIENT_SECRET)):
        place = wanted.place if name == first else ""
        secret = await _find(ctx, name, "" if name == _CLIENT_SECRET else "client_secret", place)
        if secret is not None:
            break
    if secret is not None and name != _CLIENT_SECRET:
        its_id = await _find(ctx, name, "client_id", wanted.place)
        # A source without entries gives its one value for either: that is the client secret.
        client_id = its_id[0] if its_id is not None and its_id[0] != secret[0] else None
    client_id = client_id or wanted.client_id or await ctx.secrets.find(_CLIENT_ID) or settings.client_id
    if secret is None or not client_id:
        missing = "client_secret" if secret is None else "client_id"
        raise FailedPrecondition(
            f"oauth_m2m needs a {missing}: in the secret {first!r} under this key, or in 'databricks_{missing}'"
        )
    value, place = secret
    credentials = Credentials(
        workspace.url, attributes={"auth_type": _M2M, "client_id": client_id, "client_secret": value}
    )
    if name == _CLIENT_SECRET:  # where it has a place, it is a project's own, and so is the client's id
        return credentials, SignIn(_M2M, client_id, name, place) if place else wanted
    return credentials, replace(wanted, place=place)


def _federated(wanted: SignIn, workspace: Workspace, settings: DatabricksSettings) -> Credentials:
    """An identity token, of Kubernetes say, for one of Databricks': https://docs.databricks.com/dev-tools/auth/oauth-federation."""
    attributes = {
        "auth_type": _OIDC,
        "client_id": wanted.client_id or settings.client_id,
        "oidc_token_filepath": settings.or_environment("oidc_token_file"),
    }
    return Credentials(workspace.url, attributes={name: value for name, value in attributes.items() if value})


async def _deployments(kind: str, ctx: Context, workspace: Workspace, settings: DatabricksSettings) -> Credentials:
    """Whatever the SDK finds in the environment, with the secrets that stand elsewhere."""
    attributes = {"auth_type": kind, "client_id": settings.client_id}
    for attribute, name in _OF_THE_SDK.items():
        attributes[attribute] = await ctx.secrets.find(name) or ""
    return Credentials(workspace.url, attributes={name: value for name, value in attributes.items() if value})


async def _find(ctx: Context, name: str, key: str, place: str) -> tuple[str, str] | None:
    """A secret's value and place, or None where no source has it."""
    reference = place if ":" in place or not place else f"kubernetes:{place}/{name}/{key}"
    if await ctx.secrets.find(name, key=key, reference=reference) is None:
        return None
    secret = await ctx.secrets.look_up(name, key=key, reference=reference)
    by_kubernetes = _BY_KUBERNETES.fullmatch(secret.reference)
    if by_kubernetes and by_kubernetes[2] == name and by_kubernetes[3] == key:
        return secret.value, by_kubernetes[1]  # as the reference service's metas have it
    return secret.value, secret.reference
