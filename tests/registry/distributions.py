"""Real, tiny distributions: a module and a .dist-info with its entry points, in a folder that goes on ``sys.path``."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

__all__ = ["ASYNC", "SYNC", "write_distribution"]

ASYNC = """
from dataclasses import dataclass
from connectors import AsyncConnectorBase, Phase, Resource, ResourceMeta

@dataclass(frozen=True)
class Job(ResourceMeta):
    job_id: str

class {name}(AsyncConnectorBase[Job]):
    task_type = "{task_type}"

    async def create(self, task, ctx):
        return Job(ctx.idempotency_key)

    async def get(self, job, ctx):
        return Resource(Phase.SUCCEEDED, outputs={{}})

    async def delete(self, job, ctx):
        return None
"""

SYNC = """
from connectors import Phase, Resource, SyncConnectorBase

class {name}(SyncConnectorBase):
    task_type = "{task_type}"

    async def do(self, task, ctx):
        return Resource(Phase.SUCCEEDED, outputs={{}})
"""


def write_distribution(
    folder: Path,
    name: str,
    source: str,
    *,
    module: str = "",
    entry_points: Mapping[str, str] | None = None,
    version: str = "1.0",
    group: str = "connectors",
) -> str:
    """Install a distribution into a folder; returns its module's name.

    ``entry_points`` maps plugins to the names in the module that they stand for; by default the plugin ``name`` is
    ``Connector``.
    """
    module = module or f"module_of_{name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(textwrap.dedent(source), "utf-8")
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    lines = [f"{plugin} = {module}:{target}" for plugin, target in (entry_points or {name: "Connector"}).items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]), "utf-8")
    return module
