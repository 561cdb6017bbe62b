"""Metrics as Prometheus reads them: parsed from the text, not looked up in objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from connectors.http import HttpClient

__all__ = ["Family", "Page", "scrape"]

_OF_A_KIND = {"histogram": {"le"}, "summary": {"quantile"}}


@dataclass(frozen=True)
class Family:
    """One metric, by the name that it is asked for."""

    name: str
    kind: str
    labels: frozenset[str]
    text: str


class Page:
    """What one scrape brought."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Family] = {}
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for found in text_string_to_metric_families(text):
            labels = set[str]()
            for sample in found.samples:
                self.samples[sample.name, frozenset(sample.labels.items())] = sample.value
                labels |= sample.labels.keys() - _OF_A_KIND.get(found.type, set())
            name = f"{found.name}_total" if found.type == "counter" else found.name
            self.families[name] = Family(name, found.type, frozenset(labels), found.documentation)

    def value(self, name: str, labels: Mapping[str, str] | None = None, /, **more: str) -> float | None:
        """One sample's; None where there is no such series."""
        return self.samples.get((name, frozenset({**(labels or {}), **more}.items())))

    def series(self, name: str) -> list[dict[str, str]]:
        """The labels of each of a metric's series."""
        return [dict(labels) for found, labels in self.samples if found == name]


async def scrape(http: HttpClient, address: str) -> Page:
    """The page of a server's metrics port, given as ``host:port``."""
    answer = await http.request("GET", f"http://{address}/metrics")
    assert answer.status == 200
    return Page(answer.text())
