"""The demo's query, run as Flyte's two backends run a task: create, poll until it ends, and create once more."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import anyio

from connectors import (
    Identifier,
    Phase,
    Resource,
    Sql,
    StructuredDataset,
    TaskCategory,
    TaskExecutionId,
    TaskExecutionMetadata,
    TaskTemplate,
)
from connectors.client import CallFailed, ConnectorClient
from demo.failures import DemoError

__all__ = ["SQL", "Outcome", "Protocol", "run"]

Protocol = Literal["flyte1", "flyte2"]

SQL = """\
SELECT MOD(n * n, 10) AS last_digit,
       COUNT(*) AS squares,
       MAX(n * n) AS largest
FROM UNNEST(GENERATE_ARRAY(1, 1000000)) AS n
GROUP BY last_digit
ORDER BY last_digit"""
"""It needs no table, and its result can be checked by thought: no square ends in 2, 3, 7 or 8."""

_TASK_TYPE = "bigquery_query_job_task"
_TASK = Identifier(resource_type="TASK", project="demo", domain="development", name="last_digits", version="v1")
_POLL_INTERVAL = 0.25  # seconds; a backend asks every 30 s or so
_TIMEOUT = 60.0  # seconds from the create to a terminal phase


@dataclass(frozen=True)
class Outcome:
    """What came of the query."""

    meta: bytes
    """What the backend would keep to find the job again."""
    resource: Resource
    phases: tuple[Phase, ...]
    """Each that was seen, once, in order."""
    seconds: float
    """From the create to the terminal phase."""
    is_repeat_same: bool
    """Whether a second create of the same attempt gave the same job."""

    @property
    def output(self) -> str:
        """The URI of the table that the query wrote.

        :raises DemoError: there is none.
        """
        dataset = (self.resource.outputs or {}).get("results")
        if not isinstance(dataset, StructuredDataset):
            raise DemoError(f"the job has no output named results, but {self.resource.outputs!r}")
        return dataset.uri


async def run(protocol: Protocol, address: str, saying: Callable[[str], None]) -> Outcome:
    """Run the query through one protocol.

    :param address: ``host:port`` of the server. :param saying: told of every step, for the progress line.
    :raises DemoError: a call failed, or the job did not succeed in time.
    """
    started = time.monotonic()
    phases: list[Phase] = []
    try:
        async with ConnectorClient([address], protocol=protocol) as client:
            with anyio.fail_after(_TIMEOUT):
                saying("CreateTask")
                meta = await _create(client, protocol)
                while True:
                    resource = await client.get(TaskCategory(_TASK_TYPE), meta)
                    saying(resource.phase.name)
                    if resource.phase not in phases[-1:]:
                        phases.append(resource.phase)
                    if resource.phase.is_terminal:
                        break
                    await anyio.sleep(_POLL_INTERVAL)
                seconds = time.monotonic() - started
                again = await _create(client, protocol)
    except TimeoutError as error:
        raise DemoError(f"the query did not end within {_TIMEOUT:.0f} s") from error
    except CallFailed as error:
        raise DemoError(f"the server answered {error}") from error
    if resource.phase is not Phase.SUCCEEDED:
        raise DemoError(f"the query ended {resource.phase.name}: {resource.message or 'no reason given'}")
    return Outcome(meta, resource, tuple(phases), seconds, is_repeat_same=again == meta)


async def _create(client: ConnectorClient, protocol: Protocol) -> bytes:
    """The same request at every call: the second is what a backend sends when the first one's answer was lost."""
    execution = f"demo-{protocol}"
    attempt = "0" if protocol == "flyte1" else "1"  # the two count from different numbers
    owner = TaskExecutionId(
        task_id=_TASK, project=_TASK.project, domain=_TASK.domain, execution=execution, node_id="n0", retry_attempt=0
    )
    return await client.create(
        TaskTemplate(
            type=_TASK_TYPE,
            id=_TASK,
            custom={"ProjectID": "demo", "Location": "EU", "Domain": _TASK.domain},
            sql=Sql(SQL),
        ),
        inputs={},
        output_prefix=f"s3://demo/metadata/{execution}/n0/data/{attempt}",
        metadata=TaskExecutionMetadata(task_execution_id=owner, namespace="demo-development"),
    )
