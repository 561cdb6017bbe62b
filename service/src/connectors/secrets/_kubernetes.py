"""Secrets of Kubernetes, in the workflow's namespace.

Needs the extra ``kubernetes`` (lightkube), which is loaded when a secret is first looked for there, and a service
account that may ``get`` secrets in the namespaces that are allowed.
https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from connectors.errors import ConnectorError, FailedPrecondition, PermissionDenied, Unauthenticated, Unavailable
from connectors.secrets._fresh import FreshValues
from connectors.secrets._sources import Asked, Secret

if TYPE_CHECKING:
    from lightkube import AsyncClient

__all__ = ["KubernetesSecrets"]

_FOUND_FOR, _MISSING_FOR = 60.0, 5.0  # seconds
_PATIENCE = 5.0  # seconds
_MOST = 256
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123 §2.1, as Kubernetes has it
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class KubernetesSecrets:
    """The secret of that name in the namespace that the call comes from, where the operator allows that namespace.

    In a name, capitals become small letters and ``_`` becomes ``-``: Kubernetes has neither. Without a key, the secret
    must have one entry. What was found is given again for 60 s, what was missing is looked for again after 5 s. The
    reference is ``kubernetes:<namespace>/<name>/<key>``.
    """

    kind = "kubernetes"

    def __init__(
        self, namespaces: Sequence[str], *, patience: float = _PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """:param namespaces: those that may be read; ``*`` and ``?`` are wildcards. :param patience: seconds for one
        request. :param clock: in seconds.
        """
        self._namespaces = tuple(namespaces)
        self._patience = patience
        self._values: FreshValues[tuple[str, str, str], str | None] = FreshValues(
            lambda value: _MISSING_FOR if value is None else _FOUND_FOR, most=_MOST, clock=clock
        )
        self._client: AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def find(self, asked: Asked) -> Secret | None:
        """:raises FailedPrecondition: there is no cluster's configuration, or the secret has several entries and no key
        was asked for. :raises PermissionDenied: the cluster does not let the server read it, or a reference leads to
        a namespace that is not allowed. :raises Unauthenticated: the cluster does not accept the server's credentials.
        :raises Unavailable: the cluster does not answer.
        """
        name = _as_kubernetes_has_it(asked.name)
        if not self._allows(asked.namespace):
            if asked.by_reference:
                raise PermissionDenied(f"the namespace {asked.namespace[:80]!r} is not among --secret-namespaces")
            return None
        if not _NAME.fullmatch(name):
            return None
        value = await self._values.get((asked.namespace, name, asked.key), lambda: self._ask(asked, name))
        if value is None:
            return None
        return Secret(value, f"{self.kind}:{asked.namespace}/{asked.name}/{asked.key}")

    def where(self, asked: Asked) -> str:
        if not asked.namespace:
            return "Kubernetes (the call names no namespace)"
        if not self._allows(asked.namespace):
            return f"Kubernetes (the namespace {asked.namespace[:80]!r} is not among --secret-namespaces)"
        return f"Kubernetes ({_described(asked)})"

    async def aclose(self) -> None:
        """Close the connections to the cluster."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _allows(self, namespace: str) -> bool:
        # the form first: a namespace is caller's input, and becomes part of a URL
        return _NAMESPACE.fullmatch(namespace) is not None and any(
            fnmatchcase(namespace, allowed) for allowed in self._namespaces
        )

    async def _ask(self, asked: Asked, name: str) -> str | None:
        client = await self._opened()
        from lightkube import ApiError  # noqa: PLC0415 - it was loaded in a thread
        from lightkube.resources.core_v1 import Secret as KubernetesSecret  # noqa: PLC0415

        try:
            async with asyncio.timeout(self._patience):
                found = await client.get(KubernetesSecret, name, namespace=asked.namespace)
        except TimeoutError as error:
            raise Unavailable(f"Kubernetes did not give the {_described(asked)} within {self._patience:g} s") from error
        except Exception as error:
            # ApiError, or whatever the HTTP library says of a connection, or lightkube of a body that is no secret
            if isinstance(error, ApiError) and error.response.status_code == 404:
                return None  # of a 404 that is not the cluster's own nothing follows
            raise _refusal(error, asked) from error
        return _entry(found.data or {}, asked)

    async def _opened(self) -> AsyncClient:
        async with self._opening:
            if self._client is None:
                try:
                    self._client = await asyncio.to_thread(_open)
                except ImportError as error:
                    raise FailedPrecondition(
                        "the secret source kubernetes needs its extra: pip install 'connectors-service[kubernetes]'"
                    ) from error
                except Exception as error:
                    # a configuration may be absent, cut, or of a kind that lightkube does not know
                    raise FailedPrecondition(
                        "the secret source kubernetes finds no usable configuration: neither a service account of the "
                        "pod's nor a file that KUBECONFIG names"
                    ) from error
            return self._client


def _open() -> AsyncClient:
    """A client for the cluster; in a thread, since files are read and a quarter of a second of code is loaded."""
    import lightkube  # noqa: PLC0415 - see the module's docstring
    from lightkube.resources import core_v1  # noqa: F401, PLC0415

    return lightkube.AsyncClient()


def _as_kubernetes_has_it(name: str) -> str:
    return name.lower().replace("_", "-")


def _described(asked: Asked) -> str:
    entry = f"entry {asked.key} of " if asked.key else ""
    return f"{entry}secret {_as_kubernetes_has_it(asked.name)} in namespace {asked.namespace}"


def _refusal(error: Exception, asked: Asked) -> ConnectorError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return Unauthenticated("Kubernetes does not accept the server's credentials")
    if status == 403:
        return PermissionDenied(
            f"Kubernetes does not let the server read the {_described(asked)}: its service account needs the verb "
            "'get' on 'secrets' there"
        )
    how = type(error).__name__ if status is None else f"HTTP {status}"
    return Unavailable(f"Kubernetes could not be asked for the {_described(asked)}: {how}")


def _entry(data: Mapping[str, str], asked: Asked) -> str | None:
    if asked.key:
        encoded = data.get(asked.key)
    elif len(data) > 1:
        raise FailedPrecondition(f"the {_described(asked)} has {len(data)} entries: name the one that is meant")
    else:
        encoded = next(iter(data.values()), None)
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8").strip()
    except ValueError as error:
        raise FailedPrecondition(f"the {_described(asked)} is no text (UTF-8)") from error
