"""Calls as Flyte 1 makes them, with its own stubs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from flyteidl.admin import agent_pb2
from flyteidl.core import identifier_pb2, tasks_pb2
from flyteidl.service import agent_pb2_grpc
from grpc_health.v1 import health_pb2_grpc

__all__ = ["META", "channel", "create", "get", "get_metrics", "health", "stub", "wait_for"]

META = b'{"job_id":"j"}'
_CATEGORY = agent_pb2.TaskCategory(name="gated")


@contextmanager
def channel(address: str) -> Iterator[grpc.Channel]:
    # A channel of its own: gRPC shares connections between channels with the same options.
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as opened:
        yield opened


def stub(opened: grpc.Channel) -> Any:
    return agent_pb2_grpc.AsyncAgentServiceStub(opened)


def health(opened: grpc.Channel) -> Any:
    return health_pb2_grpc.HealthStub(opened)


def create(prefix: str = "s3://b/1") -> Any:
    template = tasks_pb2.TaskTemplate(
        type="gated", id=identifier_pb2.Identifier(project="p", domain="d", name="t", version="v")
    )
    return agent_pb2.CreateTaskRequest(template=template, output_prefix=prefix)


def get(task_type: str = "gated") -> Any:
    return agent_pb2.GetTaskRequest(task_category=agent_pb2.TaskCategory(name=task_type), resource_meta=META)


def get_metrics() -> Any:
    return agent_pb2.GetTaskMetricsRequest(task_category=_CATEGORY, resource_meta=META)


def wait_for(path: Path, seconds: float = 60.0) -> None:
    """Until a file is there: the connector says by one that it was entered."""
    give_up = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < give_up, f"{path.name} did not come"
        time.sleep(0.005)
