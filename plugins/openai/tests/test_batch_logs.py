"""A batch's log: what was wrong with it, its error file, its output file."""

from __future__ import annotations

import json

import pytest

from connectors import InvalidRequest
from connectors.testing.contexts import NewContext
from connectors_openai import OpenAIBatch, OpenAIBatchConnector
from plugins.openai.tests.fake_openai import FakeOpenAI

pytestmark = pytest.mark.anyio


async def whole_log(
    connector: OpenAIBatchConnector, new_context: NewContext, batch_id: str, *, lines: int
) -> list[str]:
    """Page by page, as the backend asks."""
    found: list[str] = []
    token = ""
    for _ in range(100):
        page = await connector.get_logs(OpenAIBatch(batch_id), new_context(), lines=lines, token=token)
        assert len(page.lines) <= lines
        found += [line.message for line in page.lines]
        token = page.token
        if not token:
            return found
    pytest.fail("the log does not end")


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize("lines", [1, 2, 3, 100])
async def test_the_errors_come_first_and_every_line_comes_once(
    batch: OpenAIBatchConnector, new_context: NewContext, openai: FakeOpenAI, lines: int, knows_ranges: bool
) -> None:
    openai.knows_ranges = knows_ranges
    openai.files = {"file-out": b'{"a": 1}\n\n{"b": "\xc3\xa9"}\n{"c": 3}', "file-err": b'{"e": 1}\n{"f": 2}\n'}
    made = openai.add_batch(
        status="completed",
        errors={"data": [{"code": "x", "message": "one"}, {"code": "y", "message": "two", "line": 7}]},
        output_file_id="file-out",
        error_file_id="file-err",
    )
    assert await whole_log(batch, new_context, made["id"], lines=lines) == [
        "batch: one (code: x)",
        "batch: line 7: two (code: y)",
        'error: {"e": 1}',
        'error: {"f": 2}',
        'output: {"a": 1}',
        'output: {"b": "é"}',
        'output: {"c": 3}',
    ]


async def test_a_batch_that_runs_has_no_lines_yet(
    batch: OpenAIBatchConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    made = openai.add_batch(status="in_progress")
    assert await whole_log(batch, new_context, made["id"], lines=10) == []


async def test_a_long_line_is_shortened_and_the_next_one_is_whole(
    batch: OpenAIBatchConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    long = json.dumps({"embedding": "x" * 200_000}).encode()
    openai.files = {"file-out": long + b'\n{"b": 2}\n'}
    made = openai.add_batch(status="completed", output_file_id="file-out")
    first, second = await whole_log(batch, new_context, made["id"], lines=1)
    assert len(first) < 17_000
    assert first.endswith(f"… ({len(long) + 1} bytes)")
    assert second == 'output: {"b": 2}'


async def test_a_page_is_no_larger_than_a_message_may_be(
    batch: OpenAIBatchConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.files = {"file-out": (b"x" * 10_000 + b"\n") * 300}
    made = openai.add_batch(status="completed", output_file_id="file-out")
    page = await batch.get_logs(OpenAIBatch(made["id"]), new_context(), lines=1_000, token="")
    assert sum(len(line.message) for line in page.lines) < 1_100_000
    assert page.token
    assert len(await whole_log(batch, new_context, made["id"], lines=1_000)) == 300


async def test_a_hundred_lines_are_given_where_no_number_is_asked_for(
    batch: OpenAIBatchConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.files = {"file-out": b"{}\n" * 150}
    made = openai.add_batch(status="completed", output_file_id="file-out")
    page = await batch.get_logs(OpenAIBatch(made["id"]), new_context(), lines=0, token="")
    assert len(page.lines) == 100


async def test_a_file_that_is_gone_is_a_line_and_the_other_file_follows(
    batch: OpenAIBatchConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.files = {"file-out": b"{}\n"}
    made = openai.add_batch(status="completed", output_file_id="file-out", error_file_id="file-gone")
    first, second = await whole_log(batch, new_context, made["id"], lines=10)
    assert "gone" in first
    assert second == "output: {}"


@pytest.mark.parametrize("token", ["output:999999", "error:7", "batch:50"])
async def test_a_token_past_the_end_has_no_lines(
    batch: OpenAIBatchConnector, new_context: NewContext, openai: FakeOpenAI, token: str
) -> None:
    openai.files = {"file-err": b"{}\n"}
    made = openai.add_batch(status="completed", error_file_id="file-err")
    page = await batch.get_logs(OpenAIBatch(made["id"]), new_context(), lines=10, token=token)
    assert [line.message for line in page.lines if not line.message.startswith("error")] == []
    assert page.token == ""


@pytest.mark.parametrize("token", ["x", "output", "output:-1", "input:0", "output:1e3", "output:" + "9" * 16])
async def test_a_token_that_is_none_is_refused(
    batch: OpenAIBatchConnector, new_context: NewContext, openai: FakeOpenAI, token: str
) -> None:
    made = openai.add_batch()
    with pytest.raises(InvalidRequest, match="token"):
        await batch.get_logs(OpenAIBatch(made["id"]), new_context(), lines=10, token=token)
