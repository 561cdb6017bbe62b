"""CreateTask of an async connector: one job per key, whatever is repeated, lost or killed."""

from __future__ import annotations

import logging
from typing import cast

from anyio.abc import TaskGroup

from .._registry import Registered
from .._stores.store import State
from ..connector import AsyncConnectorBase, ResourceMeta
from ..errors import Conflict, ConnectorError
from .admission import Slot
from .fingerprint import fingerprint_of
from .flights import Flight, Flights
from .invocation import Invoker, now
from .options import EngineOptions
from .outcome import bug
from .requests import CreateRequest
from .reservation import Reservations

__all__ = ["Creates"]

log = logging.getLogger("connectors.engine")


class Creates:
    """The creates that are under way in this server."""

    def __init__(self, tasks: TaskGroup, reservations: Reservations, invoker: Invoker, options: EngineOptions) -> None:
        self._reservations = reservations
        self._invoker = invoker
        self._options = options
        self.flights: Flights[bytes] = Flights(tasks)

    def start(self, registered: Registered, request: CreateRequest, key: str, slot: Slot) -> Flight[bytes]:
        """Start the create in a task of the server's, which gives the slot back when it ends."""

        async def work(flight: Flight[bytes]) -> bytes:
            with slot:
                return await self._create(flight, registered, request)

        return self.flights.start(key, registered.category.name, "create", work)

    async def _create(self, flight: Flight[bytes], registered: Registered, request: CreateRequest) -> bytes:
        key, task_type, store = flight.key, registered.category.name, self._reservations.store
        explicit = bool(request.caller.idempotency_key)
        fingerprint = fingerprint_of(request) if explicit else ""
        claim = await self._reservations.claim_or_wait(key, task_type, fingerprint, until=lambda: flight.wanted_until)
        if explicit and claim.record.fingerprint != fingerprint:
            if claim.mine:
                await store.mark_unknown(key, owner=self._reservations.owner)
            raise Conflict("this idempotency-key was used for another request; a key belongs to one request")
        if claim.record.state is State.DONE and claim.record.meta is not None:
            flight.repeated = True
            return claim.record.meta

        proofs = [not claim.looked_for]
        try:
            async with self._reservations.holding(key):
                meta = await self._call(flight, registered, request, proofs)
        except BaseException as error:
            # every try must prove it: one that was lost on the way may have made the job that the next was refused for
            if isinstance(error, ConnectorError) and all(proofs):
                await self._reservations.release(key)
            else:
                await self._reservations.mark_unknown(key)
            raise
        await self._reservations.complete(key, meta)
        return meta

    async def _call(
        self, flight: Flight[bytes], registered: Registered, request: CreateRequest, proofs: list[bool]
    ) -> bytes:
        ctx = self._invoker.context(
            registered,
            request.caller,
            deadline=now() + self._options.create_timeout,
            key=flight.key,
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
                registered.category.name,
                "create",
                TypeError(f"create returned {type(meta).__name__}, not {expected.__name__}"),
            )
        encoded = meta.encode()
        if ctx.secrets.leaks(encoded.decode("utf-8", "replace")):
            proofs.append(False)
            raise bug(registered.category.name, "create", ValueError("the resource meta holds a secret's value"))
        return encoded
