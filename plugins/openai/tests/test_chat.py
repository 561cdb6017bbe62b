"""Chats, on an OpenAI that does what no emulator does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from connectors import FailedPrecondition, InvalidRequest, NotFound, Phase, Resource, TaskTemplate, Unavailable
from connectors.testing.contexts import NewContext
from connectors_openai import ChatGPTConnector, OpenAISettings
from plugins.openai.tests.conftest import chat_task
from plugins.openai.tests.fake_openai import KEY, FakeOpenAI

pytestmark = pytest.mark.anyio
CHAT = "/chat/completions"
SAID: Mapping[str, Any] = {"message": "Say hello."}


async def ask(connector: ChatGPTConnector, new_context: NewContext, **config: Any) -> Resource:
    task = chat_task(chatgpt_config={"model": "gpt-6", **config})
    return await connector.do(task, new_context(inputs=SAID))


# --- the request


async def test_a_message_is_sent_as_the_users_and_the_answer_is_o0(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    answer = await ask(chat, new_context, temperature=0.5, max_completion_tokens=7)
    assert (answer.phase, answer.outputs) == (Phase.SUCCEEDED, {"o0": "Hello."})
    assert openai.last(CHAT).body == {
        "model": "gpt-6",
        "messages": [{"role": "user", "content": "Say hello."}],
        "temperature": 0.5,
        "max_completion_tokens": 7,
    }


async def test_messages_of_the_configuration_are_overwritten(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    await ask(chat, new_context, messages=[{"role": "system", "content": "Be rude."}])
    assert openai.last(CHAT).body["messages"] == [{"role": "user", "content": "Say hello."}]


async def test_a_parameter_that_the_sdk_does_not_know_is_sent_as_it_is(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    await ask(chat, new_context, top_k=3, extra_body={"guided_json": {"type": "object"}}, timeout=5)
    body = openai.last(CHAT).body
    assert (body["top_k"], body["guided_json"]) == (3, {"type": "object"})
    assert not {"timeout", "extra_body"} & body.keys()


async def test_the_key_is_sent_so_that_a_repeat_can_be_told(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    ctx = new_context(inputs=SAID)
    await chat.do(chat_task(), ctx)
    assert openai.last(CHAT).headers["Idempotency-Key"] == ctx.idempotency_key


async def test_the_task_names_the_organisation_and_the_project(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    await chat.do(chat_task(openai_organization="org-a", openai_project="proj_a"), new_context(inputs=SAID))
    headers = openai.last(CHAT).headers
    assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("org-a", "proj_a")


async def test_where_the_task_names_none_the_settings_do(new_context: NewContext, openai: FakeOpenAI) -> None:
    connector = ChatGPTConnector(OpenAISettings(f"{openai.url}/v1", organization="org-s", project="proj_s"))
    await connector.do(chat_task(), new_context(inputs=SAID))
    await connector.aclose()
    headers = openai.last(CHAT).headers
    assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("org-s", "proj_s")


async def test_where_the_settings_name_none_the_environment_does(
    new_context: NewContext, openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-e")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_e")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{openai.url}/v1/")
    connector = ChatGPTConnector()
    await connector.do(chat_task(), new_context(inputs=SAID))
    await connector.aclose()
    headers = openai.last(CHAT).headers
    assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("org-e", "proj_e")


async def test_where_nobody_names_one_none_is_sent(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    await ask(chat, new_context)
    assert not {"openai-organization", "openai-project"} & {name.lower() for name in openai.last(CHAT).headers}


async def test_callers_do_not_share_a_session(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.refuse(CHAT, 500, headers={"Set-Cookie": "session=1; Path=/"})
    with pytest.raises(Unavailable):
        await ask(chat, new_context)
    openai.answers.clear()
    await ask(chat, new_context)
    assert "Cookie" not in openai.last(CHAT).headers


@pytest.mark.parametrize(
    ("custom", "named"),
    [
        ({"chatgpt_config": {}}, "model"),
        ({"chatgpt_config": None}, "model"),
        ({"chatgpt_config": []}, "chatgpt_config"),
        ({"chatgpt_config": {"model": 6}}, "model"),
        ({"chatgpt_config": {"model": "gpt-6", "stream": True}}, "stream"),
        ({"chatgpt_config": {"model": "gpt-6", "timeout": -1}}, "timeout"),
        ({"chatgpt_config": {"model": "gpt-6", "timeout": True}}, "timeout"),
        ({"chatgpt_config": {"model": "gpt-6", "extra_body": "x"}}, "extra_body"),
        ({"openai_organization": 7}, "openai_organization"),
    ],
)
async def test_a_task_that_cannot_be_sent_is_refused_by_the_fields_name(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI, custom: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidRequest, match=named):
        await chat.do(chat_task(**custom), new_context(inputs=SAID))
    assert openai.calls == []


@pytest.mark.parametrize("key", ["chatgpt_conf", "chatgptConfig", "config"])
async def test_a_key_that_resembles_the_missing_one_is_named(
    chat: ChatGPTConnector, new_context: NewContext, key: str
) -> None:
    task = TaskTemplate("chatgpt", custom={"openai_organization": "", key: {"model": "gpt-6"}})
    with pytest.raises(InvalidRequest, match=f"model is missing.*custom has '{key}': did you mean 'chatgpt_config'"):
        await chat.do(task, new_context(inputs=SAID))


async def test_of_keys_that_resemble_nothing_nothing_is_said(chat: ChatGPTConnector, new_context: NewContext) -> None:
    task = TaskTemplate("chatgpt", custom={"openai_organization": "", "openai_project": "", "team": "sales"})
    with pytest.raises(InvalidRequest, match=r"the model to ask$"):
        await chat.do(task, new_context(inputs=SAID))


async def test_a_key_that_is_not_known_is_ignored(chat: ChatGPTConnector, new_context: NewContext) -> None:
    assert (await chat.do(chat_task(chatgpt_conf={}), new_context(inputs=SAID))).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("inputs", [{}, {"message": 7}, {"message": None}, {"text": "hello"}])
async def test_a_message_that_is_none_is_refused(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI, inputs: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match="message"):
        await chat.do(chat_task(), new_context(inputs=inputs))
    assert openai.calls == []


async def test_the_model_may_stand_in_the_extra_body(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    task = TaskTemplate("chatgpt", custom={"chatgpt_config": {"extra_body": {"model": "own"}}})
    await chat.do(task, new_context(inputs=SAID))
    assert openai.last(CHAT).body["model"] == "own"


# --- the answer


async def test_what_was_used_is_told_and_counted(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    ctx = new_context(inputs=SAID)
    answer = await chat.do(chat_task(), ctx)
    used = {"input_tokens": 12, "cached_input_tokens": 4, "output_tokens": 5, "reasoning_tokens": 2}
    assert answer.custom_info == {
        "id": "chatcmpl-1",
        "model": "gpt-6-2026",
        "finish_reason": "stop",
        "usage": used,
    }
    assert ctx.usage == used


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "many",
        {},
        {"prompt_tokens": -1},
        {"prompt_tokens": True},
        {"prompt_tokens": "9"},
        {"prompt_tokens": 1e9},
    ],
)
async def test_a_usage_that_is_none_is_left_out(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI, usage: Any
) -> None:
    openai.usage, ctx = usage, new_context(inputs=SAID)
    answer = await chat.do(chat_task(), ctx)
    assert answer.custom_info is not None
    assert "usage" not in answer.custom_info
    assert ctx.usage == {}


async def test_a_refusal_of_the_models_has_failed_in_its_words_and_is_paid_for(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.choice = {"message": {"content": None, "refusal": "I can't help with that."}, "finish_reason": "stop"}
    ctx = new_context(inputs=SAID)
    answer = await chat.do(chat_task(), ctx)
    assert answer.phase is Phase.FAILED
    assert answer.message == "the model refused to answer: I can't help with that."
    assert answer.error is not None
    assert (answer.error.code, answer.error.origin) == ("Refused", "USER")
    assert answer.outputs is None
    assert ctx.usage["output_tokens"] == 5


async def test_a_filtered_answer_has_failed_and_a_part_of_it_is_not_given_out(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.choice = {"message": {"content": "Here is how"}, "finish_reason": "content_filter"}
    answer = await ask(chat, new_context)
    assert (answer.phase, answer.outputs) == (Phase.FAILED, None)
    assert "content filter" in answer.message
    assert answer.error is not None
    assert answer.error.code == "ContentFiltered"


async def test_a_filtered_question_has_failed_likewise(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.refuse(CHAT, 400, message="The prompt was filtered.", code="content_filter")
    answer = await ask(chat, new_context)
    assert answer.phase is Phase.FAILED
    assert "The prompt was filtered." in answer.message
    assert answer.error is not None
    assert answer.error.code == "ContentFiltered"


async def test_an_answer_that_is_a_call_of_a_tool_has_no_text_and_has_failed(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.choice = {"message": {"content": None, "tool_calls": [{}]}, "finish_reason": "tool_calls"}
    answer = await ask(chat, new_context)
    assert answer.phase is Phase.FAILED
    assert "tool_calls" in answer.message


async def test_an_answer_that_was_cut_at_the_limit_says_so(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.choice = {"message": {"content": "Once upon"}, "finish_reason": "length"}
    answer = await ask(chat, new_context)
    assert (answer.phase, answer.outputs) == (Phase.SUCCEEDED, {"o0": "Once upon"})
    assert "limit" in answer.message


async def test_an_empty_answer_is_an_answer(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.choice = {"message": {"content": ""}, "finish_reason": "stop"}
    answer = await ask(chat, new_context)
    assert (answer.phase, answer.outputs) == (Phase.SUCCEEDED, {"o0": ""})


@pytest.mark.parametrize("choice", [None, [], {}, {"message": None}, {"message": {"content": ["text"]}}])
async def test_an_answer_of_another_shape_is_none(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI, choice: Any
) -> None:
    openai.choice = choice
    with pytest.raises(Unavailable):
        await ask(chat, new_context)


async def test_a_model_that_there_is_not_is_not_found(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    openai.refuse(CHAT, 404, message="The model `gpt-0` does not exist.", code="model_not_found")
    with pytest.raises(NotFound, match=r"gpt-0.*model_not_found"):
        await ask(chat, new_context)


# --- the key


@pytest.mark.parametrize("name", ["FLYTE_OPENAI_API_KEY", "openai_api_key"])
async def test_the_key_is_found_under_the_references_name_and_under_openais(
    chat: ChatGPTConnector, new_context: NewContext, name: str
) -> None:
    answer = await chat.do(chat_task(), new_context(inputs=SAID, secrets={name: f"{KEY}\n"}))
    assert answer.phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    "variable", ["_FSEC_FLYTE_OPENAI_API_KEY", "FLYTE_OPENAI_API_KEY", "_FSEC_OPENAI_API_KEY", "OPENAI_API_KEY"]
)
async def test_the_key_may_stand_in_the_environment(
    chat: ChatGPTConnector, new_context: NewContext, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, KEY)
    answer = await chat.do(chat_task(), new_context(inputs=SAID, secrets={}))
    assert answer.phase is Phase.SUCCEEDED


async def test_without_a_key_nothing_is_sent(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    with pytest.raises(FailedPrecondition, match="FLYTE_OPENAI_API_KEY"):
        await chat.do(chat_task(), new_context(inputs=SAID, secrets={}))
    assert openai.calls == []


@pytest.mark.parametrize("variable", ["FLYTE_OPENAI_API_KEY", "OPENAI_API_KEY"])
async def test_without_a_key_each_variable_that_could_hold_it_is_named(
    chat: ChatGPTConnector, new_context: NewContext, variable: str
) -> None:
    with pytest.raises(FailedPrecondition, match=rf"no OpenAI API key.*[ (]{variable}\b"):
        await chat.do(chat_task(), new_context(inputs=SAID, secrets={}))


@pytest.mark.parametrize("key", ["", " ", "a key", "a\r\nX-Evil: 1", "ключ", "k" * 5_000])
async def test_what_can_be_no_key_is_not_sent(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI, key: str
) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        await chat.do(chat_task(), new_context(inputs=SAID, secrets={"FLYTE_OPENAI_API_KEY": key}))
    assert len(key.strip()) < 3 or key not in refused.value.message
    assert openai.calls == []


async def test_a_rotated_key_is_used_at_once(
    chat: ChatGPTConnector, new_context: NewContext, openai: FakeOpenAI
) -> None:
    await ask(chat, new_context)
    openai.keys = {"sk-another-invented-key"}
    again = new_context(inputs=SAID, secrets={"FLYTE_OPENAI_API_KEY": "sk-another-invented-key"})
    assert (await chat.do(chat_task(), again)).phase is Phase.SUCCEEDED
