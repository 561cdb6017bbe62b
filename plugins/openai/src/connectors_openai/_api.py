"""OpenAI's API, as far as chats, embeddings and batches need it. Every answer is checked before it is believed."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from connectors import Context, Unavailable
from connectors_openai._clients import Clients, Identity, sdk
from connectors_openai._parameters import is_identifier

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["Api", "array", "checked_id", "object_of"]

_LIST_LIMIT = 100  # the most that one page may have
_LARGE = 256 * 1024  # bytes of an answer that is not read on the event loop: as many take some milliseconds


class Api:
    """The calls of one caller: their identity and their time."""

    def __init__(
        self, ctx: Context, clients: Clients, identity: Identity, *, answer_timeout: float, request_timeout: float
    ) -> None:
        """Both times are seconds, for one exchange: for a model's answer, and for any other."""
        self._ctx = ctx
        self._clients = clients
        self._identity = identity
        self._answer_timeout = answer_timeout
        self._request_timeout = request_timeout

    async def chat(self, body: Mapping[str, Any], *, timeout: float) -> Mapping[str, Any]:
        """A chat's answer. :param timeout: seconds that the task allows.

        :raises ConnectorError: as :meth:`_exchange`.
        """
        model, messages, rest = _taken(body, "model", "messages")
        return await self._exchange(
            "the chat",
            lambda client, headers: client.chat.completions.with_raw_response.create(
                model=model, messages=messages, extra_body=rest, extra_headers=headers
            ),
            timeout=min(timeout, self._answer_timeout),
        )

    async def embeddings(self, body: Mapping[str, Any], *, timeout: float) -> Mapping[str, Any]:
        """The embeddings of texts. :param timeout: seconds that the task allows.

        :raises ConnectorError: as :meth:`_exchange`.
        """
        model, texts, rest = _taken(body, "model", "input")
        return await self._exchange(
            "the embeddings",
            lambda client, headers: client.embeddings.with_raw_response.create(
                model=model, input=texts, extra_body=rest, extra_headers=headers
            ),
            timeout=min(timeout, self._answer_timeout),
        )

    async def create_batch(self, body: Mapping[str, Any], *, timeout: float) -> Mapping[str, Any]:
        """The batch that was made. :raises ConnectorError: as :meth:`_exchange`."""
        endpoint, file, rest = _taken(body, "endpoint", "input_file_id")
        window, metadata, rest = _taken(rest, "completion_window", "metadata")
        return await self._exchange(
            "the batch could not be made",
            lambda client, headers: client.batches.with_raw_response.create(
                endpoint=endpoint,
                input_file_id=file,
                completion_window=window,
                metadata=metadata,
                extra_body=rest,
                extra_headers=headers,
            ),
            timeout=min(timeout, self._request_timeout),
        )

    async def batches(self) -> AsyncGenerator[Mapping[str, Any], None]:
        """All batches, the newest first, a page at a time as they are asked for.

        :raises Unavailable: the list is none, or does not end. :raises ConnectorError: as :meth:`_exchange`.
        """
        after, seen = "", set[str]()
        while True:
            query = {"after": after} if after else {}
            page = await self._exchange(
                "the list of batches",
                lambda client, headers, query=query: client.batches.with_raw_response.list(  # type: ignore[misc]
                    limit=_LIST_LIMIT, **query
                ),
                timeout=self._request_timeout,
            )
            items = [object_of(item, "the list of batches") for item in array(page, "data", "the list of batches")]
            for item in items:
                yield item
            if not items or page.get("has_more") is not True:
                return
            after = checked_id(items[-1].get("id"), "the list of batches")
            if after in seen:
                raise Unavailable("the list of batches: OpenAI gives the same page again and again")
            seen.add(after)

    async def batch(self, batch_id: str) -> Mapping[str, Any]:
        """A batch as it stands. :raises NotFound: there is none. :raises ConnectorError: as :meth:`_exchange`."""
        batch = await self._exchange(
            "the batch",
            lambda client, headers: client.batches.with_raw_response.retrieve(batch_id),
            timeout=self._request_timeout,
        )
        if not isinstance(batch.get("status"), str):
            raise Unavailable("the batch: OpenAI's answer is none")
        return batch

    async def cancel_batch(self, batch_id: str) -> None:
        """Ask OpenAI to stop a batch. :raises NotFound: there is none. :raises ConnectorError: as :meth:`_exchange`."""
        await self._exchange(
            "the batch could not be cancelled",
            lambda client, headers: client.batches.with_raw_response.cancel(batch_id),
            timeout=self._request_timeout,
        )

    async def file(self, file_id: str, *, skip: int = 0, timeout: float = math.inf) -> AsyncGenerator[bytes, None]:
        """A file's bytes, without the first ``skip``, as they arrive. Close what this returns (``aclosing``).

        :param timeout: seconds for all of it.
        :raises NotFound: there is no such file. :raises ConnectorError: as :meth:`_exchange`.
        """
        client = await self._client()
        timeout, is_deadline = self._bound(timeout)
        headers = {"Range": f"bytes={skip}-"} if skip else {}
        with sdk().translated("the file", timeout=timeout, is_deadline=is_deadline):
            async with (
                asyncio.timeout(timeout),
                client.files.with_streaming_response.content(file_id, extra_headers=headers) as answer,
            ):
                left = 0 if answer.status_code == 206 else skip  # a server need not know ranges
                async for chunk in answer.iter_bytes():
                    if left < len(chunk):
                        yield chunk[left:]
                    left = max(0, left - len(chunk))

    # --- one exchange

    async def _exchange(
        self, doing: str, send: Callable[[AsyncOpenAI, dict[str, str]], Awaitable[Any]], *, timeout: float
    ) -> Mapping[str, Any]:
        """The object that OpenAI answers with.

        :raises Unavailable: no answer, or one that is none: the request may have been carried out.
        :raises DeadlineExceeded: the call's time is up; likewise.
        :raises ConnectorError: as OpenAI says.
        """
        client = await self._client()  # the first one takes a moment
        seconds, is_deadline = self._bound(timeout)
        key = self._ctx.idempotency_key
        with sdk().translated(doing, timeout=seconds, is_deadline=is_deadline):
            async with asyncio.timeout(seconds):
                raw = await send(client, {"Idempotency-Key": key} if key else {})
        body = raw.http_response.content
        answer = _parsed(body, doing) if len(body) < _LARGE else await asyncio.to_thread(_parsed, body, doing)
        return object_of(answer, doing)

    def half(self) -> float:
        """Seconds for what must leave time for the rest of the call: half of what is left of it, at most those of an
        exchange.
        """
        return min(self._request_timeout, self._ctx.remaining() / 2)

    def _bound(self, timeout: float) -> tuple[float, bool]:
        """Seconds for an exchange, and whether those are all that the call has."""
        left = self._ctx.remaining()
        return min(timeout, left), left <= timeout

    async def _client(self) -> AsyncOpenAI:
        return await self._clients.get(self._identity, self._ctx.http.egress)


def object_of(value: Any, doing: str) -> Mapping[str, Any]:
    """``value``, an object of an answer's. :raises Unavailable: it is none."""
    if not isinstance(value, Mapping):
        raise Unavailable(f"{doing}: OpenAI's answer is not what it should be")
    return value


def array(answer: Mapping[str, Any], key: str, doing: str) -> list[Any]:
    """The list at ``key`` of an answer. :raises Unavailable: there is none."""
    value = answer.get(key)
    if not isinstance(value, list):
        raise Unavailable(f"{doing}: OpenAI's answer has no list of {key}")
    return value


def checked_id(value: Any, doing: str) -> str:
    """An identifier out of an answer. :raises Unavailable: it is none."""
    if not isinstance(value, str) or not is_identifier(value):
        raise Unavailable(f"{doing}: OpenAI's answer names nothing that could be found again")
    return value


def _taken(body: Mapping[str, Any], first: str, second: str) -> tuple[Any, Any, dict[str, Any]]:
    rest = dict(body)
    return rest.pop(first, None), rest.pop(second, None), rest


def _parsed(body: bytes, doing: str) -> Any:
    try:
        return json.loads(body, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"{doing}: OpenAI's answer is not JSON: it was cut, or is not OpenAI's") from error


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
