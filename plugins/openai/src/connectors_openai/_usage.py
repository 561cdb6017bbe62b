"""Tokens: what OpenAI charges for, under one set of names.

A chat's answer counts ``prompt_tokens`` and ``completion_tokens``, a batch ``input_tokens`` and ``output_tokens``; both
are told as the latter. https://developers.openai.com/api/reference/resources/chat/subresources/completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors import Context

__all__ = ["usage_of"]

_PLACES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "input_tokens": (("input_tokens",), ("prompt_tokens",)),
    "cached_input_tokens": (("input_tokens_details", "cached_tokens"), ("prompt_tokens_details", "cached_tokens")),
    "output_tokens": (("output_tokens",), ("completion_tokens",)),
    "reasoning_tokens": (
        ("output_tokens_details", "reasoning_tokens"),
        ("completion_tokens_details", "reasoning_tokens"),
    ),
}
"""Where each is found. Cached ones are among the input's, reasoning ones among the output's."""
_MOST = 2**53  # exact as a double, which is how it travels


def usage_of(answer: Mapping[str, Any], ctx: Context) -> dict[str, int]:
    """The tokens that an answer or a batch says were used, and have them counted; what it does not say is left out."""
    found: dict[str, int] = {}
    for unit, places in _PLACES.items():
        for place in places:
            value: Any = answer.get("usage")
            for name in place:
                value = value.get(name) if isinstance(value, Mapping) else None
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST:
                found[unit] = value
                break
    for unit, amount in found.items():
        ctx.used(unit, amount)
    return found
