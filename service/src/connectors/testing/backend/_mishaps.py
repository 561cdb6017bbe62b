"""What goes wrong in the backend itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mishaps"]


@dataclass(frozen=True)
class Mishaps:
    """Shares are from 0 to 1, and are drawn for each create on its own. Times are in seconds."""

    lose_create_answer: float = 0.0
    """Of the creates that are answered: the backend loses the answer before it is persisted, and sends the same create
    again."""
    ask_before_losing: float = 0.5
    """Of those: the first GetTask had left already."""
    forget: float = 0.0
    """Of those: the create is never sent again, as its execution is gone; the fate is ``aborted``, and nothing is
    deleted."""
    restart_takes: float = 0.0
    """How long after a lost answer the create is sent again."""
    give_up: float = 0.0
    """Of all creates: the backend does not wait to the deadline."""
    give_up_after: float = 1.0
    """How long it waits then."""
    send_twice: float = 0.0
    """Of all creates: it is sent twice at the same time; the second's answer counts where the first has none."""
    late_polls: int = 1
    """How often Flyte 1 polls a job after it was deleted."""
