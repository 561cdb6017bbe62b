"""A plugin's settings: from raw values to its own dataclass, or to a line that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors._registry import PluginSetting, Registry, installed_entry_points
from connectors.models import TaskCategory
from tests.registry.distributions import SYNC, write_distribution

SETTINGS = """
from collections.abc import Mapping
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Settings:
    timeout: float = 30.0
    retries: int | None = None
    hosts: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    greeting: str = "hello"
    fast: bool = False
"""


def discover(plugins: Path, settings: dict[str, PluginSetting], source: str | None = None) -> Registry:
    text = SETTINGS + SYNC.format(name="Connector", task_type="talk") + "    Settings = Settings\n"
    write_distribution(plugins, "talk", text if source is None else source)
    ours = [entry for entry in installed_entry_points() if entry.value.startswith("module_of_")]
    return Registry.discover(ours, settings={"talk": settings})


def settings_of(registry: Registry) -> Any:
    assert not registry.failures, registry.failures
    return registry.find(TaskCategory("talk")).connector.settings


def text(value: str) -> PluginSetting:
    return PluginSetting(value, "CONNECTORS_TALK__X", is_text=True)


def test_a_plugin_without_given_settings_has_its_defaults(plugins: Path) -> None:
    assert settings_of(discover(plugins, {})).timeout == 30.0


def test_values_of_a_file_keep_their_types(plugins: Path) -> None:
    given = {
        "timeout": PluginSetting(5, "f"),
        "hosts": PluginSetting(["a", "b"], "f"),
        "fast": PluginSetting(True, "f"),
    }
    settings = settings_of(discover(plugins, given))
    assert (settings.timeout, settings.hosts, settings.fast) == (5.0, ("a", "b"), True)


@pytest.mark.parametrize(
    ("field", "written", "meant"),
    [
        ("timeout", "2.5", 2.5),
        ("retries", "3", 3),
        ("hosts", "a, b", ("a", "b")),
        ("hosts", '["a,b"]', ("a,b",)),
        ("hosts", "", ()),
        ("labels", '{"team": "x"}', {"team": "x"}),
        ("greeting", "a,b", "a,b"),
        ("greeting", "[1]", "[1]"),
        ("fast", "true", True),
    ],
)
def test_text_of_the_environment_is_read_by_the_type_of_its_field(
    plugins: Path, field: str, written: str, meant: object
) -> None:
    assert getattr(settings_of(discover(plugins, {field: text(written)})), field) == meant


def test_names_are_compared_without_case_and_with_hyphens_as_underscores(plugins: Path) -> None:
    assert settings_of(discover(plugins, {"TimeOut": text("1")})).timeout == 1.0


def test_an_unknown_setting_is_named_with_its_source_and_the_nearest_known_one(plugins: Path) -> None:
    (failure,) = discover(plugins, {"tiemout": PluginSetting(1, "[plugins.talk] tiemout in c.toml")}).failures
    assert failure.is_setting
    assert failure.reason == (
        "[plugins.talk] tiemout in c.toml: plugin 'talk' has no such setting; did you mean 'timeout'?"
    )


def test_a_setting_of_a_plugin_that_has_none_is_an_error(plugins: Path) -> None:
    source = SYNC.format(name="Connector", task_type="talk")
    (failure,) = discover(plugins, {"x": text("1")}, source).failures
    assert "it has none at all" in failure.reason


def test_a_bad_value_is_named_with_its_source_and_what_was_expected_and_is_not_shown(plugins: Path) -> None:
    (failure,) = discover(
        plugins, {"timeout": PluginSetting("hunter2", "CONNECTORS_TALK__TIMEOUT", is_text=True)}
    ).failures
    assert failure.is_setting
    assert failure.reason.startswith("CONNECTORS_TALK__TIMEOUT: must be a number")
    assert "hunter2" not in str(failure)


CHECKED = (
    SETTINGS
    + """
    def __post_init__(self):
        if self.hosts == ("bad",):
            raise ValueError("hosts: must be names: of hosts")
        if self.labels:
            raise ValueError("labels, team: must be short")
        if self.timeout > self.retries_end:
            raise ValueError(f"{self.greeting} too long")

    retries_end: float = 60
"""
)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("hosts", "bad", "CONNECTORS_TALK__X: must be names: of hosts"),
        ("labels", '{"team": "x"}', "CONNECTORS_TALK__X, team: must be short"),
        ("timeout", "61", "Settings: hello too long"),
    ],
)
def test_what_the_settings_class_says_of_a_field_is_said_of_its_source(
    plugins: Path, field: str, value: str, said: str
) -> None:
    source = CHECKED + SYNC.format(name="Connector", task_type="talk") + "    Settings = Settings\n"
    (failure,) = discover(plugins, {field: text(value)}, source).failures
    assert (failure.is_setting, failure.reason) == (True, said)


def test_text_that_is_no_json_is_reported_by_its_field(plugins: Path) -> None:
    (failure,) = discover(plugins, {"labels": text("{broken")}).failures
    assert failure.reason.startswith("CONNECTORS_TALK__X: must be")


def test_settings_without_a_default_are_the_plugins_fault(plugins: Path) -> None:
    source = SETTINGS.replace("timeout: float = 30.0", "timeout: float") + SYNC.format(
        name="Connector", task_type="talk"
    )
    (failure,) = discover(plugins, {}, source + "    Settings = Settings\n").failures
    assert not failure.is_setting
    assert "every field of Settings needs a default; timeout has none" in failure.reason


def test_settings_that_are_no_dataclass_are_the_plugins_fault(plugins: Path) -> None:
    source = SYNC.format(name="Connector", task_type="talk") + "    Settings = dict\n"
    (failure,) = discover(plugins, {}, source).failures
    assert "Settings must be a dataclass" in failure.reason


def test_an_instance_gets_the_operators_settings_in_place_of_its_own(plugins: Path) -> None:
    source = SETTINGS + SYNC.format(name="Talk", task_type="talk") + "    Settings = Settings\n\nConnector = Talk()\n"
    assert settings_of(discover(plugins, {"timeout": text("7")}, source)).timeout == 7.0


def test_the_connectors_of_one_plugin_each_take_the_settings_that_they_declare(plugins: Path) -> None:
    source = (
        SETTINGS
        + SYNC.format(name="Talk", task_type="talk")
        + "    Settings = Settings\n"
        + SYNC.format(name="Plain", task_type="plain")
        + "\ndef Connector():\n    return Talk, Plain\n"
    )
    registry = discover(plugins, {"timeout": text("7")}, source)
    assert settings_of(registry).timeout == 7.0
    assert registry.find(TaskCategory("plain")).connector.settings is not None
