"""The mixin that makes a task class run by connectors."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from connectors.local._at_exit import ended_with_the_program
from connectors.local._calls import Calls
from connectors.local._options import RunOptions, progress_on_terminal
from connectors.local._outcome import Outcome, TaskFailed, TaskTimedOut
from connectors.local._run import run_task
from connectors.local._script import in_thread
from connectors.local._sdks import sdk_of
from connectors.models import TaskTemplate

__all__ = ["AsyncConnectorExecutorMixin"]


class AsyncConnectorExecutorMixin:
    """A task class that derives from this is run by its connector, in this process or through a server: as the backends
    would run it, and with the engine that a server has. It serves async and sync connectors alike.

    :class:`connectors.local.ConnectorTask` has it. So may a task class of flytekit's or flyte's, in whose bases it
    comes first: ``class LocalQuery(AsyncConnectorExecutorMixin, BigQueryTask)``. The task is serialised by their own
    code, and where they run it locally, they run it with this mixin. A function task needs ``local_run`` with an
    ``output_prefix`` that its platform reaches too; its function is called in its job, whose image holds the code, and
    this package with it.
    """

    local_run: RunOptions = RunOptions()
    """How its runs go: of the class, or of the task."""

    def connector_task(self) -> TaskTemplate:
        """The task as the backend would send it.

        :raises NotImplementedError: the class does not define it, and derives from no SDK's task class, which would.
        """
        sdk = sdk_of(self)
        if sdk is None:
            raise NotImplementedError(
                f"{type(self).__name__} must define connector_task(), or derive from a task class"
            )
        return sdk.template(self)

    async def run(self, /, **inputs: Any) -> Any:
        """Run it, and return its output: the value of a single one, several by name, None where there are none.

        :raises TaskTimedOut: it took longer than its options allow. :raises TaskFailed: it did not succeed.
        :raises ConnectorError: it could not be started, or asked for.
        """
        return (await self._succeeded(inputs)).value

    async def outcome(self, /, **inputs: Any) -> Outcome:
        """Run it, and tell how it ended, whether it succeeded or not. :raises ConnectorError: as :meth:`run`."""
        options = self.local_run
        prefix = options.output_prefix
        name = f"local-{uuid.uuid4().hex[:12]}"
        sdk = sdk_of(self)
        with ended_with_the_program():
            async with self._calls(options) as via:
                return await run_task(
                    self.connector_task(),
                    inputs if sdk is None else await sdk.inputs(self, inputs),
                    via=via,
                    output_prefix=None if prefix is None else f"{prefix.rstrip('/')}/{name}",
                    timeout=options.timeout,
                    poll_interval=options.poll_interval,
                    end_within=options.end_within,
                    on_progress=options.on_progress or progress_on_terminal(),
                    run_name=name,
                )

    def execute(self, /, **inputs: Any) -> Any:
        """What the SDKs call to run a task of theirs locally: it returns what they expect, flytekit's literal map or an
        awaitable of flyte's values. Otherwise it blocks, and returns what :meth:`run` does.

        Where they run a function task in its job, this is that task's own ``execute``, which calls the function.
        """
        sdk = sdk_of(self)
        if sdk is None:
            return in_thread(lambda: self.run(**inputs))
        if sdk.is_in_its_job(self):
            return super().execute(**inputs)  # type: ignore[misc] # of the SDK's class, which comes next
        return sdk.executed(self, lambda: self._succeeded(inputs))

    def pre_execute(self, user_params: Any) -> Any:
        """What flytekit calls before :meth:`execute`: a function task may start here what its function needs, such as
        a Spark session. It is needed in the job alone.
        """
        sdk = sdk_of(self)
        if sdk is not None and sdk.is_in_its_job(self):
            return super().pre_execute(user_params)  # type: ignore[misc] # as above
        return user_params

    async def _succeeded(self, inputs: Mapping[str, Any]) -> Outcome:
        outcome = await self.outcome(**inputs)
        if not outcome.succeeded:
            task = str(getattr(self, "name", ""))  # the SDKs' task classes have one too
            raise TaskTimedOut(outcome, task) if outcome.timed_out else TaskFailed(outcome, task)
        return outcome

    @staticmethod
    def _calls(options: RunOptions) -> AbstractAsyncContextManager[Calls]:
        if options.via is not None:
            return options.via()
        from connectors.local._in_process import InProcess  # noqa: PLC0415 - see the package's docstring

        return InProcess()
