"""``openai-batch``: a file of requests goes in, OpenAI works on it for up to a day, files of answers come out."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from connectors import (
    AsyncConnectorBase,
    Conflict,
    ConnectorError,
    Context,
    FailedPrecondition,
    InvalidRequest,
    KeyTaken,
    LogPage,
    NotFound,
    PermissionDenied,
    Phase,
    Resource,
    ResourceMeta,
    TaskLog,
    TaskTemplate,
)
from connectors_openai._api import Api, checked_id
from connectors_openai._batch_files import log_page, records
from connectors_openai._batch_request import KEY, BatchRequest
from connectors_openai._batch_states import FILES, IS_OVER, PHASES, completed, created, resource, state_of
from connectors_openai._clients import SECRET_NAMES
from connectors_openai._connecting import Connecting, organization_of
from connectors_openai._parameters import is_identifier
from connectors_openai._usage import usage_of
from connectors_openai.settings import DEFAULT_BASE_URL, OpenAISettings

__all__ = ["OpenAIBatch", "OpenAIBatchConnector"]

_FOR_GOOD = (NotFound, PermissionDenied, InvalidRequest, FailedPrecondition, Conflict)
"""What no further poll would change about a file that cannot be read."""
_FILES_WITHIN = timedelta(minutes=10)
"""After a batch's end, for its files to be read; then it ends without their records, as it would never end else."""


@dataclass(frozen=True)
class OpenAIBatch(ResourceMeta):
    """What finds a batch again."""

    batch_id: str
    openai_org: str | None = None
    openai_project: str | None = None
    secret: str = ""
    """Refers to the API key, where its plain name does not find it."""

    @classmethod
    def decode(cls, data: bytes) -> OpenAIBatch:
        """The meta that :meth:`encode` wrote.

        :raises InvalidRequest: it is none: Flyte 1's connector, for one, wrote pickles, which are not read.
        """
        if data[:1] == b"\x80":  # https://docs.python.org/3/library/pickletools.html: PROTO, since protocol 2
            raise InvalidRequest(
                "the resource meta is a pickle, as Flyte 1's connector writes it: no pickle is ever read"
            )
        return super().decode(data)


class OpenAIBatchConnector(AsyncConnectorBase[OpenAIBatch]):
    """Runs batches.

    ``custom`` has ``config``, the parameters of a batch, and may have ``openai_organization`` and ``openai_project``.
    The input ``input_file_id`` names the file of requests; the output ``result`` is the batch as a dict.

    OpenAI knows no idempotency key for batches: it is kept in the batch's metadata, and a create looks for it first.
    """

    task_type = "openai-batch"
    dedupe = "search"
    results_inline = True  # files of OpenAI's, wherever the output prefix leads
    Settings = OpenAISettings
    secret_names = SECRET_NAMES

    def __init__(self, settings: OpenAISettings | None = None) -> None:
        """:raises ValueError: ``OPENAI_BASE_URL`` holds no URL that may be used."""
        super().__init__(settings)
        self._connecting = Connecting(self.settings)

    @property
    def name(self) -> str:
        """As Flyte 1's connector calls itself."""
        return "OpenAI Batch Endpoint Connector"

    async def aclose(self) -> None:
        await self._connecting.aclose()

    async def create(self, task: TaskTemplate, ctx: Context) -> OpenAIBatch:
        """Start the batch, or adopt the one that the same key started.

        :raises KeyTaken: OpenAI has a batch of this key that is an earlier run's.
        :raises ConnectorError: as OpenAI says.
        """
        request, who = BatchRequest.of(task, ctx), organization_of(task.custom)
        api, reference = await self._connecting.api(ctx, **who)
        batch_id = await self._find(api, ctx)
        if batch_id is None:
            batch = await api.create_batch(request.body, timeout=request.timeout)
            batch_id = checked_id(batch.get("id"), "the new batch")
        return OpenAIBatch(batch_id, who["organization"] or None, who["project"] or None, reference)

    async def get(self, job: OpenAIBatch, ctx: Context) -> Resource:
        """The batch's state; its results once it is completed.

        :raises NotFound: OpenAI does not have the batch (any more).
        :raises ConnectorError: as OpenAI says.
        """
        api = await self._api(job, ctx)
        batch = await api.batch(job.batch_id)
        state = state_of(batch)
        if state not in PHASES:
            ctx.unknown_state(state)
        usage = usage_of(batch, ctx) if state in IS_OVER else {}
        found = resource(batch, usage, self._link(job))
        if found.phase is not Phase.SUCCEEDED:
            return found
        result: dict[str, Any] = {**dict.fromkeys(FILES.values()), **batch}
        notes = [note for kind in FILES if (note := await self._inline(api, batch, kind, result))]
        info = {**(found.custom_info or {}), **({"left_out": notes} if notes else {})}
        return replace(found, outputs={"result": result}, custom_info=info)

    async def delete(self, job: OpenAIBatch, ctx: Context) -> None:
        """Cancel the batch; one that is over or missing is left as it is.

        :raises ConnectorError: as OpenAI says.
        """
        api = await self._api(job, ctx)
        try:
            try:
                await api.cancel_batch(job.batch_id)
            except (InvalidRequest, Conflict):  # as OpenAI says of one that is over, but not of that alone
                if state_of(await api.batch(job.batch_id)) not in IS_OVER | {"cancelling"}:
                    raise
        except NotFound:
            pass

    async def get_logs(self, job: OpenAIBatch, ctx: Context, *, lines: int, token: str) -> LogPage:
        """What is wrong with the batch, then the lines of its error file, then those of its output file.

        :raises InvalidRequest: the token is none of this connector's. :raises ConnectorError: as OpenAI says.
        """
        api = await self._api(job, ctx)
        return await log_page(api, await api.batch(job.batch_id), lines=lines, token=token)

    async def _api(self, job: OpenAIBatch, ctx: Context) -> Api:
        """:raises InvalidRequest: the meta, a caller's input, holds what OpenAI never gave."""
        for name in ("batch_id", "openai_org", "openai_project"):
            value = getattr(job, name)
            if not is_identifier(value or "") and (value or name == "batch_id"):
                raise InvalidRequest(f"the resource meta's {name} is no identifier of OpenAI's")
        api, _ = await self._connecting.api(
            ctx, organization=job.openai_org or "", project=job.openai_project or "", reference=job.secret
        )
        return api

    async def _find(self, api: Api, ctx: Context) -> str | None:
        """The batch that was made under this key, among those of the search window.

        :raises KeyTaken: there is one, and it is an earlier run's.
        """
        oldest = datetime.now(UTC) - timedelta(seconds=self.settings.search_window)
        async with aclosing(api.batches()) as batches:
            async for batch in batches:
                made, metadata = created(batch), batch.get("metadata")
                if isinstance(metadata, dict) and metadata.get(KEY) == ctx.idempotency_key:
                    batch_id = checked_id(batch.get("id"), "the list of batches")
                    if not ctx.may_adopt(made):
                        raise KeyTaken(f"the batch {batch_id} is an earlier run's")
                    return batch_id
                if made is not None and made < oldest:
                    return None  # the newest come first
        return None

    async def _inline(self, api: Api, batch: Any, kind: str, result: dict[str, Any]) -> str:
        """Put a file's records into the result; returns why they are left out, where they are."""
        most = self.settings.inline_bytes
        if not most or not batch.get(FILES[kind]):
            return ""
        try:
            found = await records(api, batch, kind, most=most)
        except ConnectorError as error:
            if not isinstance(error, _FOR_GOOD) and not _is_long_over(batch):
                raise
            return f"the records of the {kind} file: {error.message}"
        if found is None:
            return f"the records of the {kind} file: it is larger than {most} bytes"
        result[f"{kind}_records"] = found
        return ""

    def _link(self, job: OpenAIBatch) -> TaskLog | None:
        if urlsplit(self._connecting.base_url).hostname != urlsplit(DEFAULT_BASE_URL).hostname:
            return None
        return TaskLog(uri=f"https://platform.openai.com/batches/{job.batch_id}", name="OpenAI Batch")


def _is_long_over(batch: Any) -> bool:
    ended = completed(batch)
    return ended is not None and datetime.now(UTC) - ended > _FILES_WITHIN
