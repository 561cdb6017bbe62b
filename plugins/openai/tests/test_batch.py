"""Batches, on an OpenAI that does what no emulator does."""

from __future__ import annotations

import json
import pickle
import time
from dataclasses import replace
from typing import Any

import pytest

from connectors import ConnectorError, InvalidRequest, KeyTaken, NotFound, Phase, Unavailable
from connectors.testing.contexts import NewContext
from connectors.testing.faults import Fault, FaultProxy, Route
from connectors_openai import OpenAIBatch, OpenAIBatchConnector, OpenAISettings
from plugins.openai.tests.conftest import batch_task
from plugins.openai.tests.fake_openai import FakeOpenAI

pytestmark = pytest.mark.anyio
KEY = "8d5cf6a3-0f4c-5b0e-9c39-0a2a95644d2e"
FILE = {"input_file_id": "file-input"}
OUTPUT = [{"custom_id": "1", "response": {"status_code": 200}}, {"custom_id": "2", "response": {"status_code": 200}}]


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.fixture
def context(new_context: NewContext) -> NewContext:
    """Contexts of creates under one key."""
    return replace(new_context, key=KEY, inputs=FILE)


# --- create


async def test_a_create_looks_for_the_key_and_then_makes_the_batch(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    made = await batch.create(
        batch_task(config={"output_expires_after": {"anchor": "created_at", "seconds": 3600}}), context()
    )
    assert [(call.method, call.path) for call in openai.calls] == [("GET", "/v1/batches"), ("POST", "/v1/batches")]
    assert openai.calls[0].query == {"limit": "100"}
    assert openai.calls[1].body == {
        "input_file_id": "file-input",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "output_expires_after": {"anchor": "created_at", "seconds": 3600},
        "metadata": {
            "connectors-key": KEY,
            "flyte-execution": "f3a1",
            "flyte-project": "sales",
            "flyte-domain": "production",
            "flyte-node": "n0",
            "flyte-attempt": "2",
        },
    }
    assert openai.calls[1].headers["OpenAI-Organization"] == "org-a"
    assert openai.calls[1].headers["Idempotency-Key"] == KEY
    assert made == OpenAIBatch("batch_0000", "org-a")


async def test_the_configurations_endpoint_window_and_metadata_win(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    config = {"endpoint": "/v1/embeddings", "completion_window": "48h", "metadata": {"flyte-node": "mine"}}
    await batch.create(batch_task(config=config), context())
    body = openai.last("/batches").body
    assert (body["endpoint"], body["completion_window"]) == ("/v1/embeddings", "48h")
    assert (body["metadata"]["flyte-node"], body["metadata"]["connectors-key"]) == ("mine", KEY)


async def test_fifteen_pairs_leave_room_for_the_key_alone(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    pairs = {f"pair-{number}": "x" for number in range(15)}
    await batch.create(batch_task(config={"metadata": pairs}), context())
    assert openai.last("/batches").body["metadata"] == {**pairs, "connectors-key": KEY}


@pytest.mark.parametrize(
    ("custom", "named"),
    [
        ({"config": "x"}, "config"),
        ({"config": {"metadata": {f"pair-{number}": "x" for number in range(16)}}}, "16 pairs"),
        ({"config": {"metadata": {"a": 1}}}, "metadata.a"),
        ({"config": {"metadata": {"a" * 65: "x"}}}, "metadata"),
        ({"config": {"metadata": {"a": "x" * 513}}}, "metadata.a"),
        ({"config": {"metadata": "x"}}, "metadata"),
        ({"config": {"endpoint": 7}}, "endpoint"),
        ({"config": {"input_file_id": "file-other"}}, "input_file_id"),
        ({"openai_project": "a b"}, "openai_project"),
    ],
)
async def test_a_task_that_cannot_be_sent_is_refused_by_the_fields_name(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI, custom: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidRequest, match=named):
        await batch.create(batch_task(**custom), context())
    assert openai.calls == []


@pytest.mark.parametrize("inputs", [{}, {"input_file_id": 7}, {"input_file_id": "../x"}, {"input_file_id": ""}])
async def test_an_input_that_is_no_file_is_refused(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI, inputs: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match="input_file_id"):
        await batch.create(batch_task(), context(inputs=inputs))
    assert openai.calls == []


# --- the search for an earlier try's batch


async def test_the_batch_of_the_key_is_found_behind_many_others(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    mine = openai.add_batch(metadata={"connectors-key": KEY})
    for number in range(250):
        openai.add_batch(metadata=None if number % 2 else {"connectors-key": "another"})
    assert (await batch.create(batch_task(), context())).batch_id == mine["id"]
    assert len(openai.calls) == 3
    assert len(openai.of_key(KEY)) == 1


async def test_the_search_ends_at_what_is_older_than_its_window(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    openai.clock = lambda: time.time() - 25 * 3600
    for _ in range(500):
        openai.add_batch()
    openai.clock = time.time
    openai.add_batch()
    await batch.create(batch_task(), context())
    assert [call.method for call in openai.calls] == ["GET", "POST"]


async def test_the_window_is_a_setting(context: NewContext, openai: FakeOpenAI) -> None:
    openai.clock = lambda: time.time() - 25 * 3600
    mine = openai.add_batch(metadata={"connectors-key": KEY})
    openai.add_batch()
    connector = OpenAIBatchConnector(OpenAISettings(f"{openai.url}/v1", search_window=48 * 3600))
    assert (await connector.create(batch_task(), context())).batch_id == mine["id"]
    await connector.aclose()


async def test_an_earlier_runs_batch_is_not_adopted(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    openai.clock = lambda: time.time() - 600
    openai.add_batch(metadata={"connectors-key": KEY})
    with pytest.raises(KeyTaken):
        await batch.create(batch_task(), context(adopt_within=300.0))


async def test_a_list_that_repeats_itself_is_no_answer_and_makes_no_batch(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    from aiohttp import web

    item = openai.add_batch()
    openai.answers["/v1/batches"] = lambda: web.json_response({"data": [item], "has_more": True})
    with pytest.raises(Unavailable, match="again and again"):
        await batch.create(batch_task(), context())
    assert {call.method for call in openai.calls} == {"GET"}


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": ["x"]}, {"data": [{}], "has_more": True}])
async def test_a_list_that_is_none_makes_no_batch(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI, answer: Any
) -> None:
    from aiohttp import web

    openai.answers["/v1/batches"] = lambda: web.json_response(answer)
    with pytest.raises(Unavailable):
        await batch.create(batch_task(), context())
    assert {call.method for call in openai.calls} == {"GET"}


# --- the meta


async def test_the_meta_has_the_references_fields(batch: OpenAIBatchConnector, context: NewContext) -> None:
    made = await batch.create(batch_task(), context())
    assert made.encode() == b'{"batch_id":"batch_0000","openai_org":"org-a"}'


async def test_a_pickle_is_refused_by_what_it_is() -> None:
    with pytest.raises(InvalidRequest, match="pickle"):
        OpenAIBatch.decode(pickle.dumps({"batch_id": "batch_1"}))


async def test_get_and_delete_speak_for_the_tasks_organisation_and_project(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    made = await batch.create(batch_task(openai_project="proj_a"), context())
    await batch.get(made, context())
    await batch.delete(made, context())
    sent = [(call.headers["OpenAI-Organization"], call.headers["OpenAI-Project"]) for call in openai.calls]
    assert set(sent) == {("org-a", "proj_a")}


# --- get


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("validating", Phase.RUNNING),
        ("in_progress", Phase.RUNNING),
        ("finalizing", Phase.RUNNING),
        ("cancelling", Phase.RUNNING),
        ("completed", Phase.SUCCEEDED),
        ("failed", Phase.FAILED),
        ("expired", Phase.FAILED),
        ("cancelled", Phase.FAILED),
    ],
)
async def test_every_state_has_its_phase(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI, status: str, phase: Phase
) -> None:
    made, ctx = openai.add_batch(status=status), context()
    found = await batch.get(OpenAIBatch(made["id"]), ctx)
    assert found.phase is phase
    assert (found.outputs is not None) is (phase is Phase.SUCCEEDED)
    assert ctx.unknown_states == set()


async def test_the_output_is_the_batch_with_the_records_of_its_files(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    failed = {"custom_id": "3", "error": {"message": "no"}}
    openai.files = {"file-out": lines(*OUTPUT), "file-err": lines(failed)}
    made = openai.add_batch(status="completed", output_file_id="file-out", error_file_id="file-err")
    found = await batch.get(OpenAIBatch(made["id"]), context())
    assert found.outputs == {"result": {**made, "output_records": OUTPUT, "error_records": [failed]}}


async def test_the_files_that_there_are_not_are_null_in_the_output(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    made = openai.add_batch(status="completed")
    del made["output_file_id"], made["error_file_id"]
    found = await batch.get(OpenAIBatch(made["id"]), context())
    assert found.outputs is not None
    assert found.outputs["result"]["output_file_id"] is None
    assert found.outputs["result"]["error_file_id"] is None


async def test_records_of_a_large_file_are_left_out_and_that_is_said(context: NewContext, openai: FakeOpenAI) -> None:
    connector = OpenAIBatchConnector(OpenAISettings(f"{openai.url}/v1", inline_bytes=20))
    openai.files = {"file-out": lines(*OUTPUT)}
    made = openai.add_batch(status="completed", output_file_id="file-out")
    found = await connector.get(OpenAIBatch(made["id"]), context())
    await connector.aclose()
    assert found.outputs == {"result": made}
    assert found.custom_info is not None
    assert found.custom_info["left_out"] == ["the records of the output file: it is larger than 20 bytes"]


async def test_with_no_bytes_inline_no_file_is_read(context: NewContext, openai: FakeOpenAI) -> None:
    connector = OpenAIBatchConnector(OpenAISettings(f"{openai.url}/v1", inline_bytes=0))
    made = openai.add_batch(status="completed", output_file_id="file-out")
    found = await connector.get(OpenAIBatch(made["id"]), context())
    await connector.aclose()
    assert found.outputs == {"result": made}
    assert not any("/files/" in call.path for call in openai.calls)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_file_that_cannot_be_read_for_good_does_not_hold_up_the_end(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI, status: int
) -> None:
    openai.refuse("/files/file-out/content", status)
    made = openai.add_batch(status="completed", output_file_id="file-out")
    found = await batch.get(OpenAIBatch(made["id"]), context())
    assert (found.phase, found.outputs) == (Phase.SUCCEEDED, {"result": made})
    assert found.custom_info is not None
    assert len(found.custom_info["left_out"]) == 1


@pytest.mark.parametrize("status", [429, 500])
async def test_a_file_that_cannot_be_read_now_is_a_fault_that_passes(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI, status: int
) -> None:
    openai.refuse("/files/file-out/content", status)
    made = openai.add_batch(status="completed", output_file_id="file-out")
    with pytest.raises(ConnectorError) as fault:
        await batch.get(OpenAIBatch(made["id"]), context())
    assert fault.value.retryable


async def test_a_key_that_may_read_no_files_does_not_hold_up_the_end(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    message = "You have insufficient permissions for this operation. Missing scopes: api.files.read. Check your role."
    openai.refuse("/files/file-out/content", 401, message=message)
    made = openai.add_batch(status="completed", output_file_id="file-out")
    found = await batch.get(OpenAIBatch(made["id"]), context())
    assert (found.phase, found.outputs) == (Phase.SUCCEEDED, {"result": made})
    assert found.custom_info is not None
    assert "no permission: api.files.read" in found.custom_info["left_out"][0]


@pytest.mark.parametrize("fault", ["answer", "hang"])
async def test_a_file_that_cannot_be_read_for_long_holds_up_the_end_no_longer(
    context: NewContext, openai: FakeOpenAI, fault: Any
) -> None:
    made = openai.add_batch(status="completed", output_file_id="file-out", completed_at=int(time.time()) - 660)
    async with FaultProxy(openai.url) as proxy:
        proxy.set_fault(Fault(fault, Route("GET", "/v1/files/.*"), status=500))
        connector = OpenAIBatchConnector(OpenAISettings(f"{proxy.url}/v1"))
        ctx = context(seconds=2.0)
        found = await connector.get(OpenAIBatch(made["id"]), ctx)
        assert ctx.remaining() > 0.5, "the call's time was over"
        await connector.aclose()
    assert (found.phase, found.outputs) == (Phase.SUCCEEDED, {"result": made})
    assert found.custom_info is not None
    assert len(found.custom_info["left_out"]) == 1


async def test_a_line_that_is_no_json_stays_a_text(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    openai.files = {"file-out": b'{"a": 1}\n{"cut\n'}
    made = openai.add_batch(status="completed", output_file_id="file-out")
    found = await batch.get(OpenAIBatch(made["id"]), context())
    assert found.outputs is not None
    assert found.outputs["result"]["output_records"] == [{"a": 1}, '{"cut']


async def test_a_file_that_has_no_identifier_is_no_answer(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    made = openai.add_batch(status="completed", output_file_id="../batches")
    with pytest.raises(Unavailable):
        await batch.get(OpenAIBatch(made["id"]), context())


async def test_a_batch_that_failed_says_why(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    data = [
        {"code": "invalid_json_line", "line": 3, "message": "This line is not parseable as valid JSON."},
        {"code": "mismatched_model", "message": "The models differ."},
    ]
    made = openai.add_batch(status="failed", errors={"object": "list", "data": data})
    found = await batch.get(OpenAIBatch(made["id"]), context())
    assert found.phase is Phase.FAILED
    assert found.message == (
        "the batch is failed; line 3: This line is not parseable as valid JSON. (code: invalid_json_line); "
        "The models differ. (code: mismatched_model)"
    )


async def test_a_batch_that_other_batches_left_no_room_may_be_tried_again(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    errors = {"data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}]}
    made = openai.add_batch(status="failed", errors=errors)
    assert (await batch.get(OpenAIBatch(made["id"]), context())).phase is Phase.RETRYABLE_FAILED


@pytest.mark.parametrize("errors", [None, [], "x", {"data": None}, {"data": ["x", {}]}])
async def test_errors_that_are_none_do_not_hide_the_failure(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI, errors: Any
) -> None:
    made = openai.add_batch(status="failed", errors=errors)
    assert (await batch.get(OpenAIBatch(made["id"]), context())).phase is Phase.FAILED


async def test_how_far_it_is_when_it_ran_and_what_it_used_is_told(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    made = openai.add_batch(
        status="completed",
        created_at=1_700_000_000,
        completed_at=1_700_000_060,
        request_counts={"total": 3, "completed": 2, "failed": 1},
        usage={
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 10},
            "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 150,
        },
    )
    ctx = context()
    found = await batch.get(OpenAIBatch(made["id"]), ctx)
    used = {"input_tokens": 100, "cached_input_tokens": 10, "output_tokens": 50}
    assert found.message == "the batch is completed; 1 of 3 requests failed"
    assert found.custom_info == {
        "status": "completed",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-input",
        "created_at": "2023-11-14T22:13:20+00:00",
        "completed_at": "2023-11-14T22:14:20+00:00",
        "requests": {"total": 3, "completed": 2, "failed": 1},
        "usage": used,
    }
    assert ctx.usage == used


async def test_facts_of_another_shape_are_left_out(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    made = openai.add_batch(
        status="in_progress", created_at="x", completed_at=1e300, request_counts=[], usage=7, model=["m"], metadata=[]
    )
    found = await batch.get(OpenAIBatch(made["id"]), context())
    assert found.custom_info == {
        "status": "in_progress",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-input",
    }


async def test_openais_own_page_is_linked_and_no_other_servers(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    made = openai.add_batch()
    assert (await batch.get(OpenAIBatch(made["id"]), context())).log_links == ()


# --- delete


async def test_a_batch_that_cannot_be_cancelled_while_it_runs_is_an_error(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    made = openai.add_batch(status="in_progress")
    openai.refuse(f"/batches/{made['id']}/cancel", 400)
    with pytest.raises(InvalidRequest):
        await batch.delete(OpenAIBatch(made["id"]), context())


async def test_a_batch_that_is_gone_while_it_is_cancelled_is_quiet(
    batch: OpenAIBatchConnector, context: NewContext, openai: FakeOpenAI
) -> None:
    openai.refuse("/batches/batch_1/cancel", 409)
    with pytest.raises(NotFound):
        await batch.get(OpenAIBatch("batch_1"), context())
    await batch.delete(OpenAIBatch("batch_1"), context())
