"""Connectors that each do one thing wrong, under the contract suite: ``test_contract_suite`` looks that it finds them.

The name of this module is none that pytest collects by itself. Time is virtual here, but for the flaw that stops it.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from uuid import uuid4

import pytest

from connectors import (
    Conflict,
    ConnectorError,
    Context,
    HttpResponse,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Phase,
    RateLimited,
    Resource,
    TaskTemplate,
    Unavailable,
)
from connectors.testing.platform import (
    NativeConnector,
    NoneConnector,
    PlatformConnector,
    PlatformRun,
    PlatformSettings,
    SearchConnector,
)
from connectors.testing.virtual_time import VirtualTimeLoop
from tests.testing.contract_cases import TOKEN, LookUpConnector, LookUpContract, PlatformContract

FLAWS: list[tuple[str, str]] = []
"""The suite of each flawed connector, and a fact that finds it."""
ANOTHER_TOKEN = "another-invented-token"
ConnectorT = TypeVar("ConnectorT", bound="type[PlatformConnector] | type[LookUpConnector]")


class _VirtualTime:
    @pytest.fixture(scope="session")
    @classmethod
    def anyio_backend(cls) -> tuple[str, dict[str, Any]]:
        return "asyncio", {"loop_factory": VirtualTimeLoop}


def found_by(
    *facts: str, meta: type[PlatformRun] | None = None, in_real_time: bool = False, **case: Any
) -> Callable[[ConnectorT], ConnectorT]:
    """The facts that the connector does not keep to. Each is a test of a class that pytest finds in this module.

    :param meta: what its metas are. :param case: what is other than usual in what the suite is told.
    """

    def register(kind: ConnectorT) -> ConnectorT:
        contract = PlatformContract if issubclass(kind, PlatformConnector) else LookUpContract
        name = f"Test{kind.__name__}"
        bases = (contract,) if in_real_time else (_VirtualTime, contract)
        globals()[name] = type(name, bases, {"kind": kind, "more": case, "__module__": __name__})
        if meta is not None and issubclass(kind, PlatformConnector):
            kind.meta_type = meta
        FLAWS.extend((name, fact) for fact in facts)
        return kind

    return register


def again(ctx: Context, *, key: str = "", more_time: float = 0.0) -> Context:
    """The same call under another key, with more time; what it is told stays with it."""
    return Context(
        http=ctx.http,
        secrets=ctx.secrets,
        deadline=ctx.deadline + more_time,
        idempotency_key=key or ctx.idempotency_key,
        output_prefix=ctx.output_prefix,
    )


# --- jobs and keys


@found_by(
    "test_a_create_makes_one_job",
    "test_a_repeat_under_the_same_key_finds_the_job",
    "test_another_server_finds_the_job_of_the_same_key",
    "test_creates_of_one_key_at_the_same_time_make_one_job_where_the_platform_sees_to_it",
    "test_a_repeat_after_a_lost_answer_finds_the_job",
    "test_a_repeat_after_a_refusal_makes_the_job",
)
class MakesKeys(NativeConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        return await super().create(task, again(ctx, key=str(uuid4())))


@found_by("test_another_server_finds_the_job_of_the_same_key")
class Remembers(NativeConnector):
    """For as long as it lives itself."""

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.made: dict[str, PlatformRun] = {}

    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        if ctx.idempotency_key not in self.made:
            self.made[ctx.idempotency_key] = await NoneConnector(self.settings).create(task, ctx)
        return self.made[ctx.idempotency_key]


@found_by("test_another_key_has_another_job")
class HasOneKey(NativeConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        return await super().create(task, again(ctx, key="the-same-for-all"))


@found_by("test_creates_of_one_key_at_the_same_time_make_one_job_where_the_platform_sees_to_it")
class ClaimsToBeNative(NativeConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        return await SearchConnector(self.settings).create(task, ctx)


@found_by("test_a_repeat_under_the_same_key_finds_the_job", "test_a_repeat_after_a_lost_answer_finds_the_job")
class ClaimsToFindNothing(NoneConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        return await NativeConnector(self.settings).create(task, ctx)


@found_by(
    "test_a_repeat_after_a_lost_answer_finds_the_job",
    "test_a_lost_answer_is_an_error_that_proves_nothing[create]",
    "test_a_cut_answer_is_an_error_that_proves_nothing[create]",
)
class TakesALossForARefusal(NativeConnector):
    async def _request(self, *arguments: Any, **named: Any) -> HttpResponse:
        try:
            return await super()._request(*arguments, **named)
        except Unavailable as error:
            raise InvalidRequest(error.message) from error


@found_by("test_an_earlier_runs_job_is_not_adopted")
class AdoptsAll(NativeConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        return await super().create(task, again(ctx))


# --- states and ends


@found_by("test_an_unknown_job_is_not_found", "test_a_refusal_is_the_error_that_its_status_means[get-404]")
class FailsWhatIsGone(NativeConnector):
    async def get(self, job: PlatformRun, ctx: Context) -> Resource:
        try:
            return await super().get(job, ctx)
        except NotFound as error:
            return Resource(Phase.FAILED, error.message)


@found_by("test_a_state_that_nobody_knows_is_running_and_is_told")
class FailsWhatItDoesNotKnow(NativeConnector):
    async def get(self, job: PlatformRun, ctx: Context) -> Resource:
        shown = await super().get(job, ctx)
        return Resource(Phase.FAILED) if ctx.unknown_states else shown


@found_by("test_a_state_that_nobody_knows_is_running_and_is_told")
class DoesNotTell(NativeConnector):
    async def get(self, job: PlatformRun, ctx: Context) -> Resource:
        return await super().get(job, again(ctx))


@found_by("test_a_delete_asks_the_platform_to_end_the_job")
class NeverCancels(NativeConnector):
    async def delete(self, job: PlatformRun, ctx: Context) -> None:
        await self.get(job, ctx)


@found_by("test_a_second_delete_is_quiet", "test_a_delete_of_a_finished_job_is_quiet")
class CancelsWhatRuns(NativeConnector):
    async def delete(self, job: PlatformRun, ctx: Context) -> None:
        if (await self.get(job, ctx)).phase.is_terminal:
            raise Conflict("the job is over")
        await super().delete(job, ctx)


@found_by("test_a_delete_of_an_unknown_job_is_quiet", "test_a_refusal_is_the_error_that_its_status_means[delete-404]")
class CancelsWhatIsThere(NativeConnector):
    async def delete(self, job: PlatformRun, ctx: Context) -> None:
        await self._request(ctx, "POST", f"/jobs/{job.job_id}/cancel")


@found_by("test_a_job_may_be_asked_for_after_its_delete")
class ForgetsWhatItCancelled(NativeConnector):
    async def get(self, job: PlatformRun, ctx: Context) -> Resource:
        shown = await super().get(job, ctx)
        if shown.phase is Phase.ABORTED:
            raise Conflict("the job was cancelled")
        return shown


# --- answers


@found_by(
    "test_a_refusal_is_the_error_that_its_status_means[create-401]",
    "test_a_refusal_is_the_error_that_its_status_means[get-403]",
    "test_the_pause_that_a_429_asks_for_is_handed_on[delete-seconds]",
)
class HasOneError(NativeConnector):
    async def _request(self, *arguments: Any, **named: Any) -> HttpResponse:
        try:
            return await super()._request(*arguments, **named)
        except ConnectorError as error:
            raise Unavailable(error.message) from error


@found_by("test_the_pause_that_a_429_asks_for_is_handed_on[create-date]")
class DropsThePause(NativeConnector):
    async def _request(self, *arguments: Any, **named: Any) -> HttpResponse:
        try:
            return await super()._request(*arguments, **named)
        except RateLimited as error:
            raise RateLimited(error.message) from error


@found_by("test_the_pause_that_a_429_asks_for_is_handed_on[get-seconds]")
class Insists(NativeConnector):
    async def _request(self, *arguments: Any, **named: Any) -> HttpResponse:
        try:
            return await super()._request(*arguments, **named)
        except RateLimited:
            return await super()._request(*arguments, **named)


@found_by(
    "test_an_answer_that_is_none_ends_no_job_and_proves_nothing[get-nothing]",
    "test_an_answer_that_is_none_ends_no_job_and_proves_nothing[get-another object]",
)
class EndsWhatItCannotRead(NativeConnector):
    async def get(self, job: PlatformRun, ctx: Context) -> Resource:
        try:
            return await super().get(job, ctx)
        except Unavailable:
            return Resource(Phase.SUCCEEDED)


@found_by(
    "test_an_answer_that_is_none_ends_no_job_and_proves_nothing[create-nothing]",
    "test_a_lost_answer_is_an_error_that_proves_nothing[create]",
    "test_a_repeat_after_a_lost_answer_finds_the_job",
)
class InventsAJob(NativeConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        try:
            return await super().create(task, ctx)
        except Unavailable:
            return PlatformRun("job-0")


@found_by("test_an_answer_that_is_none_ends_no_job_and_proves_nothing[create-a list]")
class HasABug(NativeConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        answer = await self._request(ctx, "POST", "/jobs", json={"key": ctx.idempotency_key})
        return PlatformRun(answer.json()["job"]["id"])


@found_by("test_a_slow_answer_ends_with_the_calls_deadline[get]")
class WaitsTooLong(NativeConnector):
    def __init__(self, settings: PlatformSettings) -> None:
        super().__init__(PlatformSettings(settings.url, settings.token, timeout=60))

    async def _request(self, ctx: Context, *arguments: Any, **named: Any) -> HttpResponse:
        return await super()._request(again(ctx, more_time=60), *arguments, **named)


@found_by("test_a_slow_answer_ends_with_the_calls_deadline[create]")
class GivesUpSoon(NativeConnector):
    def __init__(self, settings: PlatformSettings) -> None:
        super().__init__(PlatformSettings(settings.url, settings.token, timeout=0.1))


# --- conduct


@found_by("test_the_event_loop_goes_on_while_the_platform_is_slow", in_real_time=True)
class Blocks(NativeConnector):
    async def get(self, job: PlatformRun, ctx: Context) -> Resource:
        time.sleep(1.1)  # noqa: ASYNC251 - the flaw
        return await super().get(job, ctx)


class _Detaches(NativeConnector):
    """A request of its own task, which no caller ends."""

    def __init__(self, settings: PlatformSettings) -> None:
        super().__init__(PlatformSettings(settings.url, settings.token, timeout=60))
        self.tasks: set[asyncio.Task[Any]] = set()

    async def _request(self, *arguments: Any, **named: Any) -> HttpResponse:
        task = asyncio.create_task(super()._request(*arguments, **named))
        self.tasks.add(task)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(task)


@found_by("test_a_cancelled_call_leaves_no_open_request[create]")
class GoesOn(_Detaches):
    async def aclose(self) -> None:
        for task in self.tasks:
            _ = task.cancel()


@found_by("test_a_server_that_ends_leaves_no_open_request")
class NeverEnds(_Detaches):
    pass


@dataclass(frozen=True)
class _RunWithToken(PlatformRun):
    token: str = ""


@found_by("test_no_secret_is_in_the_result_the_logs_or_a_representation[create]", meta=_RunWithToken)
class KeepsTheToken(NativeConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        made = await super().create(task, ctx)
        return _RunWithToken(made.job_id, self.settings.token)


@found_by(
    "test_no_secret_is_in_the_result_the_logs_or_a_representation[get]",
    "test_no_secret_is_in_an_error_or_its_log[get-lost]",
)
class LogsTheToken(NativeConnector):
    async def _request(self, ctx: Context, *arguments: Any, **named: Any) -> HttpResponse:
        ctx.logger.debug("as %s", self.settings.token)
        return await super()._request(ctx, *arguments, **named)


@dataclass(frozen=True)
class _OpenSettings(PlatformSettings):
    token: str = ""


@found_by("test_no_secret_is_in_the_result_the_logs_or_a_representation[get]")
class ShowsItsSettings(NativeConnector):
    def __init__(self, settings: PlatformSettings) -> None:
        super().__init__(_OpenSettings(settings.url, settings.token))


@found_by("test_no_secret_is_in_an_error_or_its_log[get-lost]")
class ChainsTheToken(NativeConnector):
    async def _request(self, *arguments: Any, **named: Any) -> HttpResponse:
        try:
            return await super()._request(*arguments, **named)
        except ConnectorError as error:
            raise error from ValueError(f"as {self.settings.token}")


@found_by("test_a_secret_that_the_platform_repeats_is_hidden")
class SendsWhatItWasNotGiven(LookUpConnector):
    """The service cannot redact what it never handed out."""

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        answer = await ctx.http.request(
            "GET", f"{self.settings.url}/jobs", headers={"Authorization": f"Bearer {TOKEN}", "X-Key": ANOTHER_TOKEN}
        )
        if answer.status >= 400:
            raise PermissionDenied(answer.text())
        return Resource(Phase.SUCCEEDED)


# --- metas, and where they lead


@dataclass(frozen=True)
class _RunElsewhere(PlatformRun):
    url: str = ""


@found_by(
    "test_a_hostile_meta_is_refused_before_any_request",
    meta=_RunElsewhere,
    hostile_metas=lambda address: [_RunElsewhere("job-1", f"http://{address}")],
)
class GoesWhereItIsSent(NativeConnector):
    async def get(self, job: PlatformRun, ctx: Context) -> Resource:
        if isinstance(job, _RunElsewhere) and job.url:
            await ctx.http.request("GET", job.url, headers={"Authorization": f"Bearer {self.settings.token}"})
        return await super().get(job, ctx)


@found_by("test_a_hostile_meta_is_refused_before_any_request")
class TrustsItsMeta(NativeConnector):
    async def delete(self, job: PlatformRun, ctx: Context) -> None:
        try:
            await self._request(ctx, "POST", f"/jobs/{job.job_id}/cancel")
        except NotFound:
            pass


@found_by("test_a_hostile_task_is_refused_before_any_request")
class TrustsItsTask(LookUpConnector):
    def address(self, task: TaskTemplate) -> str:
        return str(task.custom.get("url", self.settings.url))


@dataclass(frozen=True)
class _StrictRun(PlatformRun):
    @classmethod
    def decode(cls, data: bytes) -> Self:
        if len(json.loads(data)) > 1:
            raise InvalidRequest("a field too many")
        return super().decode(data)


@found_by("test_a_field_that_this_release_does_not_know_is_ignored", meta=_StrictRun)
class WantsNoMore(NativeConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        return _StrictRun((await super().create(task, ctx)).job_id)


@dataclass(frozen=True)
class _RenamedRun(PlatformRun):
    name: str

    def encode(self) -> bytes:
        return json.dumps({"job_id": self.job_id}).encode()


@found_by(
    "test_the_metas_of_the_reference_service_and_of_earlier_releases_are_read",
    "test_a_meta_comes_back_as_it_was_made",
    meta=_RenamedRun,
)
class RenamedAField(NativeConnector):
    async def create(self, task: TaskTemplate, ctx: Context) -> PlatformRun:
        return _RenamedRun((await super().create(task, ctx)).job_id, "x")


@dataclass(frozen=True)
class _PickledRun(PlatformRun):
    @classmethod
    def decode(cls, data: bytes) -> Self:
        try:
            pickle.loads(data)  # noqa: S301 - the flaw
        except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError):
            pass
        return super().decode(data or b'{"job_id": "job-1"}')


@found_by("test_a_pickle_is_not_unpickled", "test_what_is_no_meta_is_refused[]", meta=_PickledRun)
class Unpickles(NativeConnector):
    """Its metas are what it reads."""


# --- sync connectors


@found_by("test_the_answer_is_final")
class IsNeverDone(LookUpConnector):
    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        return Resource(Phase.RUNNING)


@found_by("test_an_answer_that_is_none_ends_no_job_and_proves_nothing[do-another object]")
class TakesAnything(LookUpConnector):
    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        try:
            return await super().do(task, ctx)
        except Unavailable:
            return Resource(Phase.SUCCEEDED)
