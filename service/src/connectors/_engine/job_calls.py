"""A call of a connector about a job that there is: get, delete, get_logs and get_metrics."""

from __future__ import annotations

from typing import Any, cast

from connectors._engine.admission import Admission
from connectors._engine.invocation import Invoker
from connectors._engine.recorder import Call
from connectors._engine.requests import JobRequest
from connectors._registry import Registered
from connectors.connector import AsyncConnectorBase, ResourceMeta
from connectors.errors import ConnectorError

__all__ = ["JobCalls", "decode_meta"]


class JobCalls:
    """Calls connectors within the limits of admission."""

    def __init__(self, admission: Admission, invoker: Invoker) -> None:
        self._admission = admission
        self._invoker = invoker

    async def call(
        self,
        registered: Registered,
        operation: str,
        request: JobRequest,
        job: ResourceMeta,
        *,
        call: Call,
        until: float,
        **options: Any,
    ) -> Any:
        """The connector's answer. ``call`` is told of what happens on the way.

        :param until: an instant on the event loop's clock; the wait for a turn, and all tries, end before it.
        :raises ConnectorError: AdmissionRefused, or as the connector's last try.
        """
        with await self._admission.enter(request.category.name, until=until):
            ctx = self._invoker.context(registered, request.caller, deadline=until, output_prefix=request.output_prefix)

            def on_attempt(error: ConnectorError | None) -> None:
                if error is not None:
                    ctx.usage.clear()  # the next try tells it again
                call.on_attempt(error)

            try:
                return await self._invoker.call(
                    registered, operation, ctx, job, retry_until=lambda: until, on_attempt=on_attempt, **options
                )
            finally:
                call.unknown_states = tuple(sorted(ctx.unknown_states))
                call.usage = ctx.usage


def decode_meta(registered: Registered, meta: bytes) -> ResourceMeta:
    """A meta of an async connector's.

    :raises InvalidRequest: the bytes are no such meta.
    """
    return cast("AsyncConnectorBase[ResourceMeta]", registered.connector).meta_type.decode(meta)
