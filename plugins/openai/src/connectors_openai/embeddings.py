"""``openai-embeddings``: texts go in, vectors come out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import sys
from array import array as typed_array
from collections.abc import Mapping
from typing import Any

from connectors import Context, InvalidRequest, Phase, Resource, TaskTemplate, Unavailable
from connectors_openai._api import array, object_of
from connectors_openai._asking import AskingConnector, parameters_of
from connectors_openai._parameters import text_input
from connectors_openai._usage import usage_of

__all__ = ["OpenAIEmbeddingsConnector"]

_DOING = "the embeddings"
_MOST_NUMBERS = 275_000
"""Of one answer: the backend takes messages of 4 MiB, in which each number is a literal of 15 bytes."""
_MOST_TEXTS = 2_048  # https://developers.openai.com/api/reference/resources/embeddings/methods/create


class OpenAIEmbeddingsConnector(AskingConnector):
    """Asks a model for the embeddings of texts.

    ``custom`` has ``config``, the parameters of the request, and may have ``openai_organization`` and
    ``openai_project``. The input is ``text``, or ``texts``, a list; the output ``vectors`` has one for each, in order.
    """

    task_type = "openai-embeddings"

    @property
    def name(self) -> str:
        return "OpenAI Embeddings Connector"

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        """The vectors.

        :raises InvalidRequest: the task has no model or no texts, or OpenAI refused a parameter.
        :raises ConnectorError: as OpenAI says.
        """
        parameters = parameters_of(task, "config", overwritten="input")
        body = dict(parameters.body)
        # four bytes for a number instead of some twenty; "float" is for servers that do not know the other
        if body.setdefault("encoding_format", "base64") not in {"base64", "float"}:
            raise InvalidRequest("the task's custom.config.encoding_format must be 'float' or 'base64'")
        texts = _texts(ctx)
        if isinstance(body.get("dimensions"), int):
            _check_size(len(texts), body["dimensions"])
        api = await self._api(task, ctx)
        answer = await api.embeddings({**body, "input": texts}, timeout=parameters.timeout)
        usage = usage_of(answer, ctx)
        vectors = await asyncio.to_thread(_vectors, answer, len(texts))  # up to some millions of numbers
        _check_size(len(vectors), len(vectors[0]))
        info: dict[str, Any] = {"model": str(answer.get("model"))[:200], "dimensions": len(vectors[0])}
        if usage:
            info["usage"] = usage
        return Resource(Phase.SUCCEEDED, outputs={"vectors": vectors}, custom_info=info)


def _texts(ctx: Context) -> list[str]:
    given = ctx.inputs.get("texts")
    if given is None:
        texts: list[Any] = [text_input(ctx, "text")] if "text" in ctx.inputs else []
    elif "text" in ctx.inputs:
        raise InvalidRequest("the task has the input 'text' and the input 'texts': which of them is meant?")
    elif isinstance(given, list):
        texts = given
    else:
        raise InvalidRequest("the input 'texts' must be a list of texts")
    if not texts:
        raise InvalidRequest("the task needs the input 'text', or 'texts' with at least one")
    if len(texts) > _MOST_TEXTS:
        raise InvalidRequest(f"the input 'texts' has {len(texts)} texts; {_MOST_TEXTS} is the most for one request")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise InvalidRequest(f"the input's text {index} is empty, or no text")
    return texts


def _check_size(vectors: int, dimensions: int) -> None:
    """:raises InvalidRequest: they would not fit into an answer."""
    if vectors * dimensions > _MOST_NUMBERS:
        raise InvalidRequest(
            f"{vectors} vectors of {dimensions} numbers are more than the {_MOST_NUMBERS} numbers that an answer can "
            "hold: ask for fewer dimensions, or for fewer texts at a time"
        )


def _vectors(answer: Mapping[str, Any], count: int) -> list[list[float]]:
    """One for each text, in the order of the texts.

    :raises Unavailable: the answer does not have them.
    """
    found: dict[int, list[float]] = {}
    for item in array(answer, "data", _DOING):
        entry = object_of(item, _DOING)
        index = entry.get("index")
        if isinstance(index, int) and not isinstance(index, bool):
            found[index] = _vector(entry.get("embedding"))
    vectors = [found[index] for index in range(count) if index in found]
    if len(vectors) != count or len(found) != count:
        raise Unavailable(f"{_DOING}: OpenAI's answer has vectors for {len(found)} of {count} texts")
    if len({len(vector) for vector in vectors}) != 1:
        raise Unavailable(f"{_DOING}: OpenAI's vectors have different dimensions")
    return vectors


def _vector(value: Any) -> list[float]:
    """A list of numbers, or little-endian floats of four bytes in base64."""
    if isinstance(value, str):
        numbers = typed_array("f")
        try:
            numbers.frombytes(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError) as error:
            raise Unavailable(f"{_DOING}: a vector is neither numbers nor their bytes") from error
        if sys.byteorder == "big":
            numbers.byteswap()
        vector = numbers.tolist()
    elif isinstance(value, list) and all(type(number) in (int, float) for number in value):
        vector = [float(number) for number in value]
    else:
        vector = []
    if not vector or not all(map(math.isfinite, vector)):
        raise Unavailable(f"{_DOING}: a vector is empty, or holds what is no number")
    return vector
