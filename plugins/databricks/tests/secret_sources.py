"""Where the tests' secrets are, and what of them reaches the platform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from connectors import (
    Context,
    Secrets,
    TaskExecutionMetadata,
)
from connectors.secrets import Asked, FileSecrets, Secret, SecretRules, SecretScope
from connectors.testing.contexts import NewContext
from plugins.databricks.tests.fake_databricks import FakeDatabricks

__all__ = ["Namespaces", "bearer", "in_and_out_of_a_project"]


class Namespaces:
    """Kubernetes' secrets, as the service's own source gives them, of one workflow's namespace or by reference."""

    kind = "kubernetes"

    def __init__(self, secrets: Mapping[str, str], *, workflows: str = "") -> None:
        """:param secrets: by ``namespace/name/key``. :param workflows: the namespace of the call, "" in a get."""
        self._secrets = secrets
        self._workflows = workflows

    async def find(self, asked: Asked) -> Secret | None:
        path = f"{asked.namespace or self._workflows}/{asked.name}/{asked.key}"
        value = self._secrets.get(path)
        return None if value is None else Secret(value, f"kubernetes:{path}")

    def where(self, asked: Asked) -> str:
        return "Kubernetes"

    async def aclose(self) -> None:
        """It holds nothing open."""


def bearer(databricks: FakeDatabricks, operation: str = "submit") -> str:
    return databricks.last(operation).headers["Authorization"].removeprefix("Bearer ")


def in_and_out_of_a_project(
    new_context: NewContext, folder: Path, protocol: Literal["flyte1", "flyte2"], table: Mapping[str, str]
) -> tuple[Context, Context]:
    """The contexts of a create in the project ``sales``, and of a get, which names no project."""
    create, get = new_context(protocol=protocol), new_context(protocol=protocol, metadata=TaskExecutionMetadata())
    rules = SecretRules(by_project={"sales": table})
    create.secrets = Secrets([FileSecrets(folder)], rules=rules, scope=SecretScope(project="sales"))
    get.secrets = Secrets([FileSecrets(folder)], rules=rules)
    return create, get
