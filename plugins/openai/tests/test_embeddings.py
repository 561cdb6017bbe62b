"""Embeddings."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable
from typing import Any

import pytest
from aiohttp import web

from connectors import InvalidRequest, Phase, Unavailable
from connectors.testing.contexts import NewContext
from connectors_openai import OpenAIEmbeddingsConnector
from connectors_openai.embeddings import _vectors
from plugins.openai.tests.conftest import embeddings_task
from plugins.openai.tests.fake_openai import FakeOpenAI, vector_of

pytestmark = pytest.mark.anyio
PATH = "/embeddings"
LONG = base64.b64encode(b"\0\0\x80?" * 1536).decode()


def answer(openai: FakeOpenAI, *vectors: Any) -> None:
    data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    openai.answers[f"/v1{PATH}"] = lambda: web.json_response({"data": data})


async def test_each_text_has_its_vector_in_the_order_of_the_texts(
    embeddings: OpenAIEmbeddingsConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    done = await embeddings.do(embeddings_task(dimensions=3), new_context(inputs={"texts": ["a", "bcd", "ef"]}))
    assert done.phase is Phase.SUCCEEDED
    assert done.outputs == {"vectors": [vector_of("a"), vector_of("bcd"), vector_of("ef")]}
    assert openai.last(PATH).body == {
        "model": "text-embedding-3-small",
        "input": ["a", "bcd", "ef"],
        "dimensions": 3,
        "encoding_format": "base64",
    }


async def test_one_text_has_one_vector(embeddings: OpenAIEmbeddingsConnector, new_context: NewContext) -> None:
    done = await embeddings.do(embeddings_task(), new_context(inputs={"text": "hello"}))
    assert done.outputs == {"vectors": [vector_of("hello")]}


async def test_vectors_as_numbers_are_read_as_well(
    embeddings: OpenAIEmbeddingsConnector, new_context: NewContext
) -> None:
    task = embeddings_task(encoding_format="float")
    done = await embeddings.do(task, new_context(inputs={"text": "hello"}))
    assert done.outputs == {"vectors": [vector_of("hello")]}


async def test_what_was_used_is_told_and_counted(
    embeddings: OpenAIEmbeddingsConnector, new_context: NewContext
) -> None:
    ctx = new_context(inputs={"text": "hello"})
    done = await embeddings.do(embeddings_task(), ctx)
    assert done.custom_info == {
        "model": "text-embedding-3-small",
        "dimensions": 3,
        "usage": {"input_tokens": 8},
    }
    assert ctx.usage == {"input_tokens": 8}


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({}, "'text'"),
        ({"texts": []}, "'texts'"),
        ({"texts": "hello"}, "'texts'"),
        ({"texts": ["a", ""]}, "text 1"),
        ({"texts": ["a", 7]}, "text 1"),
        ({"text": ""}, "text 0"),
        ({"text": 7}, "'text'"),
        ({"text": "a", "texts": ["a"]}, "which of them"),
        ({"texts": ["a"] * 2_049}, "2048"),
    ],
)
async def test_texts_that_are_none_are_refused(
    embeddings: OpenAIEmbeddingsConnector,
    new_context: NewContext,
    openai: FakeOpenAI,
    inputs: dict[str, Any],
    named: str,
) -> None:
    with pytest.raises(InvalidRequest, match=named):
        await embeddings.do(embeddings_task(), new_context(inputs=inputs))
    assert openai.calls == []


@pytest.mark.parametrize(
    ("config", "named"), [({"model": ""}, "model"), ({"encoding_format": "hex"}, "encoding_format")]
)
async def test_a_task_that_cannot_be_sent_is_refused_by_the_fields_name(
    embeddings: OpenAIEmbeddingsConnector,
    new_context: NewContext,
    openai: FakeOpenAI,
    config: dict[str, Any],
    named: str,
) -> None:
    with pytest.raises(InvalidRequest, match=named):
        await embeddings.do(embeddings_task(**config), new_context(inputs={"text": "a"}))
    assert openai.calls == []


@pytest.mark.parametrize(
    "vectors",
    [
        [],
        [[1.0]],
        [[1.0], [1.0], [1.0]],
        [[1.0], [1.0, 2.0]],
        [[], []],
        [["1"], ["2"]],
        [[True], [False]],
        [None, None],
        ["!!!!", "!!!!"],
        [base64.b64encode(b"abc").decode()] * 2,  # no whole number
        [base64.b64encode(b"\x00\x00\xc0\x7f").decode()] * 2,  # a NaN
    ],
)
async def test_vectors_that_are_none_are_no_answer(
    embeddings: OpenAIEmbeddingsConnector, new_context: NewContext, openai: FakeOpenAI, vectors: list[Any]
) -> None:
    answer(openai, *vectors)
    with pytest.raises(Unavailable):
        await embeddings.do(embeddings_task(), new_context(inputs={"texts": ["a", "b"]}))


async def test_more_numbers_than_an_answer_can_hold_are_not_asked_for(
    embeddings: OpenAIEmbeddingsConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    with pytest.raises(InvalidRequest, match="200 vectors of 1536 numbers"):
        await embeddings.do(embeddings_task(dimensions=1536), new_context(inputs={"texts": ["a"] * 200}))
    assert openai.calls == []


async def test_more_numbers_than_an_answer_can_hold_are_refused_when_they_come(
    embeddings: OpenAIEmbeddingsConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    answer(openai, *[LONG] * 200)
    with pytest.raises(InvalidRequest, match="200 vectors of 1536 numbers"):
        await embeddings.do(embeddings_task(), new_context(inputs={"texts": ["a"] * 200}))


async def test_millions_of_numbers_do_not_hold_the_event_loop(
    embeddings: OpenAIEmbeddingsConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    body = json.dumps({"data": [{"index": index, "embedding": LONG} for index in range(2048)]})
    openai.answers[f"/v1{PATH}"] = lambda: web.Response(text=body, content_type="application/json")
    clock = asyncio.get_running_loop().time

    async def longest_halt(call: Awaitable[Any]) -> float:
        running, longest, last = asyncio.ensure_future(call), 0.0, clock()
        while not running.done():
            await asyncio.sleep(0.001)
            longest, last = max(longest, clock() - last), clock()
        with pytest.raises(InvalidRequest, match="2048 vectors"):
            running.result()
        return longest

    began = clock()
    _vectors(json.loads(body), 2048)
    takes = clock() - began
    halts = []
    for _ in range(4):  # the machine may be busy with something else
        context = new_context(inputs={"texts": ["a"] * 2048})
        halts.append(await longest_halt(embeddings.do(embeddings_task(), context)))
        if halts[-1] < takes / 2:
            return
    pytest.fail(f"the event loop stood still for {min(halts):.3f} s; all of it takes {takes:.3f} s")
