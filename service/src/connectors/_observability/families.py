"""What all metrics are made of: names, buckets, and children that are looked up once."""

from __future__ import annotations

from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

__all__ = ["CALL_SECONDS", "PREFIX", "Bounded", "Children", "counter"]

PREFIX = "flyte_connector"
CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets for calls and for requests to platforms."""

M = TypeVar("M", Counter, Gauge, Histogram, Summary)


def counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    """A counter of the server's, with the prefix and the ending that names have."""
    return Counter(f"{PREFIX}_{name}_total", text, labels, registry=registry)


class Children(Generic[M]):
    """One metric's series by their label values. The library's own look-up costs as much as the counting."""

    __slots__ = ("_known", "_parent")

    def __init__(self, parent: M) -> None:
        self._parent: M = parent
        self._known: dict[tuple[str, ...], M] = {}

    def of(self, *values: str) -> M:
        """The series of these values, in the order of the labels."""
        child = self._known.get(values)
        if child is None:
            child = self._known[values] = self._parent.labels(*values)
        return child


class Bounded:
    """Label values that code makes up, such as the names of error classes: the first ``most``, then ``other``."""

    def __init__(self, most: int = 50) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        """The label's value for ``value``."""
        if value in self._known:
            return value
        if len(self._known) >= self._most:
            return "other"
        self._known.add(value)
        return value
