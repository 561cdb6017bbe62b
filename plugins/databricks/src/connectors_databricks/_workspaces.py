"""Which workspaces there are: the operator's list of hosts that credentials may be sent to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from connectors import InvalidRequest

__all__ = ["Workspace", "Workspaces"]

_VARIABLES = ("FLYTE_DATABRICKS_INSTANCE", "DATABRICKS_HOST")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_PLACE = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?)(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Workspace:
    """One workspace."""

    place: str
    """Its host, with the port where it is not 443, in lower case: what a meta names it by."""
    url: str
    """Where its API is, without a slash at its end."""


class Workspaces:
    """The operator's workspaces, in order."""

    def __init__(self, instances: Sequence[str]) -> None:
        """:param instances: hosts, or URLs of https; http is for this machine alone.

        :raises ValueError: one of them is neither.
        """
        found = [_workspace(instance) for instance in instances]
        self._by_place: Mapping[str, Workspace] = {workspace.place: workspace for workspace in found}

    @classmethod
    def of(cls, instances: Sequence[str]) -> Workspaces:
        """Those of the setting; where it has none, the one that the environment names.

        :raises ValueError: as the constructor.
        """
        if instances:
            return cls(instances)
        for name in _VARIABLES:
            # as the browser shows it, it ends with the workspace's number: /?o=1234
            if value := os.environ.get(name, "").partition("?")[0].strip():
                try:
                    return cls((value,))
                except ValueError as error:
                    raise ValueError(f"{name}: {str(error).removeprefix('instances: ')}") from None
        return cls(())

    def find(self, instance: str | None) -> Workspace:
        """The workspace that a task or a meta names; the first one where it names none.

        :raises InvalidRequest: it is not on the list, or there is none at all.
        """
        if not instance:
            if not self._by_place:
                raise InvalidRequest(
                    "no Databricks instance is configured: the operator must set instances for the plugin, or "
                    "FLYTE_DATABRICKS_INSTANCE in the server's environment"
                )
            return next(iter(self._by_place.values()))
        try:
            place = _workspace(instance).place
        except ValueError:
            place = ""
        found = self._by_place.get(place)
        if found is None:
            raise InvalidRequest(
                f"the Databricks instance {instance[:120]!r} is not one that the operator allows: expected one of "
                "the plugin's instances"
            )
        return found


def _workspace(instance: str) -> Workspace:
    """:raises ValueError: it is no host, or an address that credentials must not go to in the clear."""
    text = instance.strip().lower()
    scheme, separator, rest = text.partition("://")
    place = (rest if separator else text).rstrip("/")
    scheme = scheme if separator else "https"
    if scheme not in {"http", "https"} or not _PLACE.fullmatch(place):
        raise ValueError(f"instances: {instance[:120]!r} is not a host like my-workspace.cloud.databricks.com")
    if scheme == "http" and urlsplit(f"//{place}").hostname not in _LOOPBACK:
        raise ValueError("instances: must be https, since credentials are sent there")
    return Workspace(place.removesuffix(":443") if scheme == "https" else place, f"{scheme}://{place}")
