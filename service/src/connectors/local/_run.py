"""One run of a task: created, polled until it ends, deleted where it is broken off."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

import anyio

from connectors.errors import ConnectorError, InvalidRequest, NotFound, Unimplemented
from connectors.local._calls import Calls, OddResource
from connectors.local._faults import fault_of
from connectors.local._outcome import Outcome, Progress, shown_meta
from connectors.local._prefix import OutputPrefix
from connectors.local._rendering import rendered
from connectors.models import Phase, Resource, TaskCategory, TaskExecutionMetadata, TaskTemplate

__all__ = ["run_task"]

log = logging.getLogger("connectors.local")

_FAILED_POLLS = 5  # in a row: one more ends the run
_NEVER_BETTER = (InvalidRequest, NotFound, Unimplemented)


async def run_task(
    template: TaskTemplate,
    inputs: Mapping[str, Any] | None = None,
    *,
    via: Calls,
    output_prefix: str | None = None,
    timeout: float | None = None,
    poll_interval: float = 1.0,
    end_within: float = 60.0,
    on_progress: Callable[[Progress], None] | None = None,
    metadata: TaskExecutionMetadata | None = None,
    run_name: str = "",
) -> Outcome:
    """Run a task to its end, and tell how it ended: every terminal phase is one.

    Where this coroutine is cancelled (so also at Ctrl-C), or the time is up, the job is deleted, and that is waited
    for. A second cancellation does not wait: what finds the job again is then logged, and told to ``on_progress``.

    :param inputs: native values by name.
    :param via: who answers.
    :param output_prefix: a local path, or the URL of a store that fsspec knows, where ``inputs.pb`` is written and
        ``outputs.pb`` is read. None: neither, and the task's container can be given no place.
    :param timeout: seconds for the whole run, the deletion apart; None is no bound.
    :param poll_interval: seconds between polls, above 0.
    :param end_within: seconds that the deletion may take.
    :param on_progress: told of each change, on the event loop.
    :param metadata: whose run it is, as a backend would send it.
    :param run_name: what ``{{.runName}}`` stands for in the container's arguments; by default a random name.
    :raises ConnectorError: the job could not be created, or could not be asked for; it was then deleted.
    :raises InvalidRequest: an input, or an argument of the container, is not as it should be; or the job succeeded with
        outputs that are not those that the task declares.
    """
    if not poll_interval > 0:
        raise ValueError("poll_interval must be above 0")
    prefix = OutputPrefix(output_prefix) if output_prefix else None
    run = _Run(
        via=via,
        template=template,
        prefix=prefix,
        poll_interval=poll_interval,
        end_within=end_within,
        on_progress=on_progress,
        metadata=metadata,
    )
    with anyio.move_on_after(timeout):
        return await run.to_its_end(inputs or {}, run_name or f"local-{uuid.uuid4().hex[:12]}")
    return run.timed_out()


class _Run:
    def __init__(
        self,
        *,
        via: Calls,
        template: TaskTemplate,
        prefix: OutputPrefix | None,
        poll_interval: float,
        end_within: float,
        on_progress: Callable[[Progress], None] | None,
        metadata: TaskExecutionMetadata | None,
    ) -> None:
        self._via = via
        self._template = template
        self._category = TaskCategory(template.type, template.task_type_version)
        self._prefix = prefix
        self._poll_interval = poll_interval
        self._end_within = end_within
        self._on_progress = on_progress
        self._metadata = metadata
        self._began = asyncio.get_running_loop().time()
        self._creating: asyncio.Task[bytes] | None = None
        self._meta = b""
        self._seen = Resource(Phase.UNDEFINED)
        self._fault = ""
        self._unknown_states: tuple[str, ...] = ()
        self._left = False

    async def to_its_end(self, inputs: Mapping[str, Any], run_name: str) -> Outcome:
        try:
            resource = await self._resource(inputs, run_name)
        except asyncio.CancelledError:
            await self._end()
            raise
        except Exception:
            await self._end()
            raise
        return await self._outcome(resource)

    def timed_out(self) -> Outcome:
        """The outcome of a run whose time was up."""
        seen = self._seen
        return Outcome(
            seen.phase,
            seen.message,
            {},
            elapsed=self._elapsed,
            meta=self._meta,
            log_links=seen.log_links,
            custom_info=seen.custom_info,
            timed_out=True,
            job_left=self._left,
            fault=self._fault,
        )

    # --- its course

    async def _resource(self, inputs: Mapping[str, Any], run_name: str) -> Resource:
        """The resource with the terminal phase."""
        self._tell("creating")
        template, prefix = await self._prepared(inputs, run_name)
        if await self._via.kind(self._category) == "sync":
            return await self._via.do(template, inputs, output_prefix=prefix, metadata=self._metadata)
        # A task of its own: whoever breaks off the run has to learn which job there is to be deleted.
        self._creating = asyncio.ensure_future(
            self._via.create(template, inputs, output_prefix=prefix, metadata=self._metadata)
        )
        self._meta = await asyncio.shield(self._creating)
        failures = 0
        while True:
            try:
                self._see(await self._via.get(self._category, self._meta, output_prefix=prefix))
            except ConnectorError as error:
                failures += 1
                if failures > _FAILED_POLLS or isinstance(error, _NEVER_BETTER):
                    raise
                log.info("the job could not be asked for, and will be again: %s", error.message)
                self._fault = error.message
            else:
                failures = 0
            self._tell("running")
            if self._seen.phase.is_terminal:
                return self._seen
            await anyio.sleep(self._poll_interval)

    def _see(self, answer: Resource) -> None:
        """Take note of a poll's answer. One that hides a fault has nothing new to say of the job."""
        for state in answer.unknown_states if isinstance(answer, OddResource) else ():
            if state not in self._unknown_states:
                self._unknown_states += (state,)
                text = "the connector of %s does not know the state %r of its platform's, and takes it for RUNNING"
                log.warning(text, self._category.name, state)
        hidden = fault_of(answer)
        if hidden is None:
            self._seen, self._fault = answer, ""
            return
        # The last try of a poll may have had no time left to be answered in: what was wrong before says more.
        if not (self._fault and hidden.status == "DEADLINE_EXCEEDED"):
            self._fault = hidden.message
        if self._seen.phase is Phase.UNDEFINED:
            self._seen = Resource(answer.phase)

    async def _prepared(self, inputs: Mapping[str, Any], run_name: str) -> tuple[TaskTemplate, str]:
        from connectors._messages.local_values import inputs_file  # noqa: PLC0415 - see the package's docstring

        data = inputs_file(inputs, self._template.interface)
        template = rendered(self._template, inputs, prefix=self._prefix, run_name=run_name)
        if self._prefix is None:
            return template, ""
        await self._prefix.write("inputs.pb", data)
        return template, self._prefix.url

    async def _outcome(self, resource: Resource) -> Outcome:
        phase, message = resource.phase, resource.message
        outputs: Mapping[str, Any] = {}
        if phase is Phase.SUCCEEDED:
            try:
                outputs = await self._outputs(resource)
            except ConnectorError as error:  # so it is in a workflow: without its outputs the task has failed
                phase, message = Phase.FAILED, f"the job succeeded; its outputs cannot be read: {error.message}"
            else:
                outputs = self._fitting(outputs)
        return Outcome(
            phase,
            message,
            outputs,
            elapsed=self._elapsed,
            meta=self._meta,
            log_links=resource.log_links,
            custom_info=resource.custom_info,
        )

    async def _outputs(self, resource: Resource) -> Mapping[str, Any]:
        from connectors._messages.local_values import read_outputs_file  # noqa: PLC0415 - as above

        if resource.outputs is not None:
            return dict(resource.outputs)
        if not self._template.interface.outputs:
            return {}
        if self._prefix is None:
            raise InvalidRequest("the job writes them under an output prefix, and this run was given none")
        return read_outputs_file(await self._prefix.read("outputs.pb"))

    def _fitting(self, outputs: Mapping[str, Any]) -> Mapping[str, Any]:
        from connectors._messages.local_values import fitting_outputs  # noqa: PLC0415 - as above

        try:
            return fitting_outputs(outputs, self._template.interface)
        except InvalidRequest as error:
            text = f"{self._category.name} succeeded without bringing what the task declares: {error.message}"
            its = f"; the job's resource meta is {shown_meta(self._meta)}" if self._meta else ""
            raise InvalidRequest(text + its) from None

    # --- its breaking off

    async def _end(self) -> None:
        """Delete the job, if there is one, whatever cancels the run meanwhile; but for a second cancellation of the
        task itself.
        """
        creating = self._creating
        if creating is None or self._seen.phase.is_terminal or _has_failed(creating):
            return
        self._tell("deleting", "" if self._meta else "its create is under way, and is waited for")
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(self._end_within):
                if not self._meta:
                    try:
                        self._meta = await asyncio.shield(creating)
                    except ConnectorError as error:
                        self._fault = error.message
                        self._say_none(error.message, certain=error.proves_no_job)
                        return
                    except Exception as error:  # noqa: BLE001 - there is no job, or nobody knows which
                        self._say_none(type(error).__name__, certain=False)
                        return
                await self._via.delete(self._category, self._meta)
        except TimeoutError:
            self._leave(f"it could not be deleted within {self._end_within:g} s")
        except ConnectorError as error:
            self._leave(f"it could not be deleted: {error.message}")
        except (asyncio.CancelledError, KeyboardInterrupt):  # asyncio's own handler of Ctrl-C raises the second time
            self._leave("its deletion was not waited for")
            raise
        else:
            self._tell("deleted")

    def _say_none(self, reason: str, *, certain: bool) -> None:
        text = (
            "no job was made" if certain else "no job is known; the create failed, and may have made one all the same"
        )
        log.info("%s: %s", text, reason)
        self._tell("none", f"{text}: {reason}")

    def _leave(self, reason: str) -> None:
        self._left = True
        if self._fault:
            reason += f"; before, it could not be asked for: {self._fault}"
        if self._creating is not None:
            self._creating.cancel()
        shown = shown_meta(self._meta) if self._meta else "not known, its create is under way"
        log.warning("a job of %s may go on, %s; its resource meta: %s", self._category.name, reason, shown)
        self._tell("left", reason)

    @property
    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    def _tell(
        self, stage: Literal["creating", "running", "deleting", "deleted", "none", "left"], message: str = ""
    ) -> None:
        if self._on_progress is not None:
            seen = self._seen
            self._on_progress(
                Progress(
                    stage,
                    self._elapsed,
                    phase=seen.phase,
                    message=message or seen.message,
                    log_links=seen.log_links,
                    custom_info=seen.custom_info,
                    meta=self._meta,
                    fault=self._fault,
                    unknown_states=self._unknown_states,
                )
            )


def _has_failed(creating: asyncio.Task[bytes]) -> bool:
    return creating.done() and not creating.cancelled() and creating.exception() is not None
