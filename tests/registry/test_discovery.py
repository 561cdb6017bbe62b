"""What is discovered, from distributions that are really on the search path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from connectors._registry import LoadFailure, Registered, Registry, Selection, installed_entry_points
from connectors.errors import NotFound
from connectors.models import TaskCategory
from tests.registry.distributions import ASYNC, SYNC, write_distribution


def discover(folder: Path, selection: Selection | None = None) -> Registry:
    """The registry of what lies in ``folder``: what else is installed here is not looked at."""
    ours = [entry for entry in installed_entry_points() if entry.value.startswith("module_of_")]
    return Registry.discover(ours, selection=selection)


def only_failure(registry: Registry) -> LoadFailure:
    assert len(registry.failures) == 1, registry.failures
    return registry.failures[0]


def test_the_installed_distributions_are_looked_at_where_no_entry_points_are_given(plugins: Path) -> None:
    write_distribution(plugins, "acme-connectors", ASYNC.format(name="Connector", task_type="acme"))
    assert TaskCategory("acme") in [item.category for item in Registry.discover()]


def test_a_class_is_registered_with_where_it_came_from(plugins: Path) -> None:
    write_distribution(
        plugins,
        "acme-connectors",
        ASYNC.format(name="Connector", task_type="acme"),
        entry_points={"acme": "Connector"},
        version="2.5",
    )
    found = discover(plugins).find(TaskCategory("acme", 0))
    assert (found.plugin, found.distribution, found.distribution_version, found.kind) == (
        "acme",
        "acme-connectors",
        "2.5",
        "async",
    )


def test_a_sync_connector_is_registered_as_such(plugins: Path) -> None:
    write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    assert discover(plugins).find(TaskCategory("talk")).kind == "sync"


def test_a_connector_that_its_settings_do_not_want_is_left_out_and_is_no_failure(plugins: Path) -> None:
    unwanted = SYNC.format(name="Shout", task_type="shout") + "\n    is_wanted = False\n"
    source = SYNC.format(name="Talk", task_type="talk") + unwanted + "\ndef both():\n    return Talk, Shout\n"
    write_distribution(plugins, "talk", source, entry_points={"talk": "both"})
    registry = discover(plugins)
    assert ([str(item.category) for item in registry], list(registry.failures)) == (["talk@0"], [])


def test_an_instance_is_registered_itself(plugins: Path) -> None:
    source = SYNC.format(name="Talk", task_type="talk") + "\nConnector = Talk()\nConnector.mark = 'mine'\n"
    write_distribution(plugins, "talk", source)
    assert getattr(discover(plugins).find(TaskCategory("talk")).connector, "mark", None) == "mine"


def test_a_callable_may_return_one_connector(plugins: Path) -> None:
    source = SYNC.format(name="Talk", task_type="talk") + "\ndef make():\n    return Talk()\n"
    write_distribution(plugins, "talk", source, entry_points={"talk": "make"})
    assert [item.category.name for item in discover(plugins)] == ["talk"]


def test_a_callable_may_return_several_classes_and_instances(plugins: Path) -> None:
    source = (
        SYNC.format(name="Talk", task_type="talk")
        + ASYNC.format(name="Run", task_type="run")
        + "\ndef make():\n    yield Talk()\n    yield Run\n"
    )
    write_distribution(plugins, "both", source, entry_points={"both": "make"})
    assert [(item.category.name, item.kind) for item in discover(plugins)] == [("run", "async"), ("talk", "sync")]


def test_versions_of_one_task_type_are_different_connectors_and_the_newest_is_last(plugins: Path) -> None:
    newer = SYNC.format(name="Newer", task_type="talk") + "    task_type_version = 10\n"
    older = SYNC.format(name="Older", task_type="talk") + "    task_type_version = 9\n"
    write_distribution(plugins, "talk", newer + older, entry_points={"a": "Newer", "b": "Older"})
    assert [str(item.category) for item in discover(plugins)] == ["talk@9", "talk@10"]


def test_nothing_is_registered_by_an_import_alone(plugins: Path) -> None:
    module = write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"), group="elsewhere")
    __import__(module)
    assert len(discover(plugins)) == 0


def test_looking_for_entry_points_imports_no_plugin(plugins: Path) -> None:
    module = write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    assert "talk" in [entry.name for entry in installed_entry_points()]
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Connector(:\n", "SyntaxError: "),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        ("x = 1", "AttributeError: "),
        ("def Connector():\n    raise ValueError('no account')", "ValueError: no account"),
        ("def Connector():\n    return []", "it returned no connector"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_its_distribution_and_the_reason(
    plugins: Path, source: str, said: str
) -> None:
    write_distribution(plugins, "broken-dist", source, entry_points={"broken": "Connector"})
    failure = only_failure(discover(plugins))
    assert (failure.plugin, failure.distribution) == ("broken", "broken-dist")
    assert said in failure.reason
    assert "\n" not in failure.reason
    assert failure.error is not None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("Connector = 7", "an object of type int is no connector"),
        ("class Connector: pass", "Connector is no connector"),
        (
            "from connectors.connector import ConnectorBase\nclass Connector(ConnectorBase):\n    task_type = 'x'",
            "it derives from none of AsyncConnectorBase and SyncConnectorBase",
        ),
        (
            "from connectors import SyncConnectorBase\nclass Connector(SyncConnectorBase):\n    task_type = 'x'",
            "Connector does not define do",
        ),
        (SYNC.format(name="Connector", task_type=""), "task_type must name a task type; it is ''"),
        (SYNC.format(name="Connector", task_type=" x"), "task_type must name a task type; it is ' x'"),
        (SYNC.format(name="Connector", task_type="x").replace("task_type = ", "other = "), "it is None"),
        (SYNC.format(name="Connector", task_type="x") + "    task_type_version = '1'\n", "it is '1'"),
        (SYNC.format(name="Connector", task_type="x") + "    task_type_version = -1\n", "it is -1"),
        (SYNC.format(name="Connector", task_type="x") + "    task_type_version = True\n", "it is True"),
        (
            ASYNC.format(name="Connector", task_type="x").replace("AsyncConnectorBase[Job]", "AsyncConnectorBase"),
            "does not name its resource meta",
        ),
        (
            ASYNC.format(name="Connector", task_type="x").replace("@dataclass(frozen=True)", ""),
            "Job, the resource meta of Connector, lacks @dataclass(frozen=True)",
        ),
        (
            ASYNC.format(name="Connector", task_type="x").replace("job_id: str", "job_id: type(lambda: 0)"),
            "Job, the resource meta of Connector, has no JSON form",
        ),
        (
            ASYNC.format(name="Connector", task_type="x") + "    dedupe = 'Native'\n",
            "Connector.dedupe must be one of 'native', 'search', 'none'; it is 'Native'",
        ),
        (ASYNC.format(name="Connector", task_type="x") + "    dedupe = ['native']\n", "it is ['native']"),
        (
            ASYNC.format(name="Connector", task_type="x") + "    results_inline = 'yes'\n",
            "Connector.results_inline must be True or False; it is 'yes'",
        ),
        (ASYNC.format(name="Connector", task_type="x") + "    results_inline = 1\n", "it is 1"),
        (
            SYNC.format(name="Connector", task_type="x")
            + "    def __init__(self, settings):\n        raise OSError('full')",
            "Connector cannot be constructed: OSError: full",
        ),
    ],
)
def test_what_is_no_whole_connector_is_named_with_what_it_lacks(plugins: Path, source: str, said: str) -> None:
    write_distribution(plugins, "broken-dist", source, entry_points={"broken": "Connector"})
    registry = discover(plugins)
    failure = only_failure(registry)
    assert (failure.plugin, failure.distribution, len(registry)) == ("broken", "broken-dist", 0)
    assert said in failure.reason


def test_a_broken_plugin_does_not_keep_the_others_out(plugins: Path) -> None:
    write_distribution(plugins, "broken", "raise SystemExit")
    write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    registry = discover(plugins)
    assert [item.category.name for item in registry] == ["talk"]
    assert only_failure(registry).plugin == "broken"


def test_one_bad_connector_of_a_plugin_does_not_keep_its_others_out(plugins: Path) -> None:
    source = SYNC.format(name="Talk", task_type="talk") + "\ndef make():\n    return [Talk, 7]\n"
    write_distribution(plugins, "talk", source, entry_points={"talk": "make"})
    registry = discover(plugins)
    assert [item.category.name for item in registry] == ["talk"]
    assert "an object of type int" in only_failure(registry).reason


@pytest.mark.parametrize("first_on_the_path", ["b-dist", "a-dist"])
def test_of_two_plugins_with_one_task_type_the_first_by_name_serves_it_and_both_are_named(
    plugins: Path, first_on_the_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in sorted(["a-dist", "b-dist"], key=lambda name: name == first_on_the_path):
        folder = plugins / name
        folder.mkdir()
        write_distribution(folder, name, SYNC.format(name="Connector", task_type="talk"))
        monkeypatch.syspath_prepend(str(folder))
    registry = discover(plugins)
    assert registry.find(TaskCategory("talk")).distribution == "a-dist"
    failure = only_failure(registry)
    assert failure.distribution == "b-dist"
    assert "talk@0 of b-dist is already served by plugin 'a-dist' of a-dist" in failure.reason


def test_two_distributions_may_use_one_plugin_name(plugins: Path) -> None:
    for name in ("first", "second"):
        source = SYNC.format(name="Connector", task_type=f"{name}-type")
        write_distribution(plugins, name, source, entry_points={"shared": "Connector"})
    registry = discover(plugins)
    assert [(item.plugin, item.distribution) for item in registry] == [("shared", "first"), ("shared", "second")]
    assert not registry.failures


def test_a_distribution_without_metadata_is_still_read(plugins: Path) -> None:
    write_distribution(plugins, "half", SYNC.format(name="Connector", task_type="half"))
    (plugins / "half-1.0.dist-info" / "METADATA").unlink()
    assert discover(plugins).find(TaskCategory("half")).plugin == "half"


def test_a_denied_plugin_is_not_even_imported(plugins: Path) -> None:
    module = write_distribution(plugins, "broken", "raise SystemExit")
    registry = discover(plugins, Selection(deny_plugins=frozenset({"broken"})))
    assert (len(registry), registry.failures, module in sys.modules) == (0, (), False)


def test_only_plugins_on_the_allow_list_are_imported(plugins: Path) -> None:
    write_distribution(plugins, "broken", "raise SystemExit")
    write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    registry = discover(plugins, Selection(allow_plugins=frozenset({"talk"})))
    assert [item.plugin for item in registry] == ["talk"]
    assert not registry.failures


def test_deny_wins_over_allow(plugins: Path) -> None:
    write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    both = frozenset({"talk"})
    assert len(discover(plugins, Selection(allow_plugins=both, deny_plugins=both))) == 0
    assert len(discover(plugins, Selection(allow_task_types=both, deny_task_types=both))) == 0


def test_an_allowed_plugin_that_is_not_installed_is_a_failure(plugins: Path) -> None:
    failure = only_failure(discover(plugins, Selection(allow_plugins=frozenset({"absent"}))))
    assert (failure.plugin, failure.reason) == ("absent", "on the allow-list, but not installed")


def test_task_types_are_chosen_one_by_one(plugins: Path) -> None:
    source = SYNC.format(name="A", task_type="a") + SYNC.format(name="B", task_type="b")
    write_distribution(plugins, "two", source, entry_points={"a": "A", "b": "B"})
    assert [i.category.name for i in discover(plugins, Selection(allow_task_types=frozenset({"a"})))] == ["a"]
    assert [i.category.name for i in discover(plugins, Selection(deny_task_types=frozenset({"a"})))] == ["b"]


def test_a_denied_task_type_is_no_duplicate(plugins: Path) -> None:
    for name in ("first", "second"):
        write_distribution(plugins, name, SYNC.format(name="Connector", task_type="talk"))
    assert not discover(plugins, Selection(deny_task_types=frozenset({"talk"}))).failures


def test_an_unknown_task_type_is_refused_with_those_that_are_known(plugins: Path) -> None:
    write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    with pytest.raises(NotFound, match=r"task type 'tlak' in version 0; there are: talk@0$"):
        discover(plugins).find(TaskCategory("tlak"))


def test_an_unknown_version_is_refused_with_those_that_are_known(plugins: Path) -> None:
    write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    with pytest.raises(NotFound, match=r"'talk' in version 3; there are: talk@0$"):
        discover(plugins).find(TaskCategory("talk", 3))


def test_the_refusal_is_bounded_whatever_was_asked_and_however_many_are_known(plugins: Path) -> None:
    names = [f"Connector{number}" for number in range(60)]
    source = "".join(SYNC.format(name=name, task_type=name) for name in names)
    write_distribution(plugins, "many", source, entry_points={name: name for name in names})
    with pytest.raises(NotFound, match="and 40 more") as refusal:
        discover(plugins).find(TaskCategory("x" * 100_000))
    assert len(refusal.value.message) < 700


def test_a_refusal_shows_control_characters_escaped() -> None:
    with pytest.raises(NotFound) as refusal:
        Registry().find(TaskCategory("a\nb"))
    assert "\n" not in refusal.value.message


def test_a_connector_that_failed_later_is_taken_out_with_its_reason(plugins: Path) -> None:
    write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    whole = discover(plugins)
    found: Registered = whole.find(TaskCategory("talk"))
    less = whole.without({found.category: LoadFailure("talk", "talk", "it did not start", "start")})
    assert (len(whole), len(less), only_failure(less).reason) == (1, 0, "it did not start")


def test_a_registry_refuses_two_connectors_of_one_category(plugins: Path) -> None:
    write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    found = discover(plugins).find(TaskCategory("talk"))
    with pytest.raises(ValueError, match="same task type"):
        Registry([found, found])
