"""CreateTask of an async connector: one job per key, whatever is repeated, lost or killed."""

from __future__ import annotations

import logging
from typing import cast

from anyio.abc import TaskGroup

from connectors._engine.flights import Flight, Flights
from connectors._engine.invocation import Invoker, now
from connectors._engine.options import EngineOptions
from connectors._engine.outcome import bug
from connectors._engine.reservation import Reservations
from connectors._engine.work import Work
from connectors._stores.store import State
from connectors.connector import AsyncConnectorBase, ResourceMeta
from connectors.errors import ConnectorError

__all__ = ["Creates"]

log = logging.getLogger("connectors.engine")


class Creates:
    """The creates that are under way in this server."""

    def __init__(self, tasks: TaskGroup, reservations: Reservations, invoker: Invoker, options: EngineOptions) -> None:
        self._reservations = reservations
        self._invoker = invoker
        self._options = options
        self.flights: Flights[bytes] = Flights(tasks)

    def start(self, work: Work) -> Flight[bytes]:
        """Start the create in a task of the server's."""
        return self.flights.start(work, "create", lambda flight: self._create(flight, work))

    async def _create(self, flight: Flight[bytes], work: Work) -> bytes:
        claim = await self._reservations.claim_or_wait(work, until=lambda: flight.wanted_until)
        if claim.record.state is State.DONE and claim.record.meta is not None:
            flight.repeated = True
            return claim.record.meta

        proofs = [not claim.looked_for]
        try:
            async with self._reservations.holding(work):
                meta = await self._call(flight, work, proofs)
        except BaseException as error:
            # every try must prove it: one that was lost on the way may have made the job that the next was refused for
            if isinstance(error, ConnectorError) and all(proofs):
                await self._reservations.release(work)
            else:
                await self._reservations.mark_unknown(work)
            raise
        return await self._reservations.complete(work, meta)

    async def _call(self, flight: Flight[bytes], work: Work, proofs: list[bool]) -> bytes:
        registered, request = work.registered, work.request
        ctx = self._invoker.context(
            registered,
            request.caller,
            deadline=now() + self._options.create_timeout,
            key=work.key,
            output_prefix=request.output_prefix,
            metadata=request.metadata,
            inputs=request.inputs,
        )

        def on_attempt(error: ConnectorError | None) -> None:
            flight.attempts += 1
            if error is not None:
                proofs.append(error.proves_no_job)

        meta = await self._invoker.call(
            registered,
            "create",
            ctx,
            request.template(),
            retry_until=lambda: flight.wanted_until,
            on_attempt=on_attempt,
        )
        expected = cast("AsyncConnectorBase[ResourceMeta]", registered.connector).meta_type
        if not isinstance(meta, expected):
            proofs.append(False)
            raise bug(
                work.task_type,
                "create",
                TypeError(f"create returned {type(meta).__name__}, not {expected.__name__}"),
            )
        try:
            encoded = meta.encode()
            expected.decode(encoded)  # or the job could be neither polled nor deleted
        except Exception as error:
            proofs.append(False)
            raise bug(work.task_type, "create", error) from error
        if ctx.secrets.leaks(encoded.decode("utf-8", "replace")):
            proofs.append(False)
            raise bug(work.task_type, "create", ValueError("the resource meta holds a secret's value"))
        return encoded
