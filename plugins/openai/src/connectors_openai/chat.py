"""``chatgpt``: a message goes in, the model's answer comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors import (
    Context,
    InvalidRequest,
    Phase,
    Resource,
    ResourceError,
    TaskTemplate,
    Unavailable,
)
from connectors_openai._api import array, object_of
from connectors_openai._asking import AskingConnector, parameters_of
from connectors_openai._errors import ContentFiltered
from connectors_openai._parameters import is_name, text_input
from connectors_openai._usage import usage_of

__all__ = ["ChatGPTConnector"]

_DOING = "the chat"


class ChatGPTConnector(AskingConnector):
    """Asks a chat model.

    ``custom`` has ``chatgpt_config``, the parameters of a chat, and may have ``openai_organization`` and
    ``openai_project``. The input ``message`` is what the user says; the output ``o0`` is what the model answers.
    """

    task_type = "chatgpt"

    @property
    def name(self) -> str:
        """As Flyte 1's connector calls itself."""
        return "ChatGPT Connector"

    async def do(self, task: TaskTemplate, ctx: Context) -> Resource:
        """The model's answer. One that was refused, by the model or by a content filter, has failed.

        :raises InvalidRequest: the task has no model or no message, or OpenAI refused a parameter.
        :raises ConnectorError: as OpenAI says.
        """
        parameters = parameters_of(task, "chatgpt_config", overwritten="messages")
        if parameters.body.get("stream"):
            raise InvalidRequest("the task's custom.chatgpt_config.stream: an answer comes in one piece; take it out")
        message = {"role": "user", "content": text_input(ctx, "message")}
        api = await self._api(task, ctx)
        try:
            answer = await api.chat({**parameters.body, "messages": [message]}, timeout=parameters.timeout)
        except ContentFiltered as error:
            return _failed("ContentFiltered", error.message, {})
        return _resource(answer, ctx)


def _resource(answer: Mapping[str, Any], ctx: Context) -> Resource:
    choices = array(answer, "choices", _DOING)
    if not choices:
        raise Unavailable(f"{_DOING}: OpenAI's answer has no choices")
    choice = object_of(choices[0], _DOING)
    message = object_of(choice.get("message"), _DOING)
    reason, text, refusal = choice.get("finish_reason"), message.get("content"), message.get("refusal")
    usage = usage_of(answer, ctx)
    facts = {
        "id": answer.get("id"),
        "model": answer.get("model"),
        "finish_reason": reason,
        "service_tier": answer.get("service_tier"),
    }
    info: dict[str, Any] = {name: value[:200] for name, value in facts.items() if isinstance(value, str)}
    if usage:
        info["usage"] = usage
    if is_name(refusal):
        return _failed("Refused", f"the model refused to answer: {refusal}", info)
    if reason == "content_filter":
        return _failed("ContentFiltered", "the content filter withheld the model's answer, or a part of it", info)
    if text is None:
        return _failed("NoText", f"the model answered with no text (finish_reason: {reason})", info)
    if not isinstance(text, str):
        raise Unavailable(f"{_DOING}: OpenAI's answer has no text")
    remark = "the answer was cut at the limit of tokens" if reason == "length" else ""
    return Resource(Phase.SUCCEEDED, remark, outputs={"o0": text}, custom_info=info)


def _failed(code: str, message: str, info: Mapping[str, Any]) -> Resource:
    return Resource(Phase.FAILED, message[:2_000], custom_info=info, error=ResourceError(code, origin="USER"))
