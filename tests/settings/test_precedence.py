"""Where a setting comes from: flag, then environment, then file, then default."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connectors._engine.options import EngineOptions
from connectors._registry import PluginSetting
from connectors._settings import Settings, load, notices, plugin_settings


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration file, and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("CONNECTORS_"):
            monkeypatch.delenv(variable)


def write(text: str, name: str = "connectors.toml") -> None:
    Path(name).write_text(text, "utf-8")


FIELDS = [
    # field, its flag's text, its variable's text, its line in the file, and what each of them means
    ("port", "1", "2", "port = 3", (1, 2, 3, 8000)),
    ("metrics_port", "1", "2", "metrics-port = 3", (1, 2, 3, 9090)),
    ("host", "a", "b", 'host = "c"', ("a", "b", "c", "127.0.0.1")),
    ("grace", "1.5", "2", "grace = 3", (1.5, 2.0, 3.0, 25.0)),
    ("log_format", "json", "JSON", 'log_format = "json"', ("json", "json", "json", "console")),
    ("reflection", False, "false", "reflection = false", (False, False, False, True)),
    ("strict_plugins", True, "1", "strict-plugins = true", (True, True, True, False)),
    ("allow_plugins", "a,b", "c", 'allow_plugins = ["d"]', (("a", "b"), ("c",), ("d",), None)),
    ("deny_task_types", "a", "b, c", "deny_task_types = []", (("a",), ("b", "c"), (), ())),
    (
        "store",
        "memory://",
        "sqlite:///b",
        'store = "sqlite:///c"',
        ("memory://", "sqlite:///b", "sqlite:///c", "sqlite://"),
    ),
    ("key_namespace", "a", "b", 'key_namespace = "c"', ("a", "b", "c", "")),
    ("connector_attempts", "1", "2", "connector_attempts = 3", (1, 2, 3, 10)),
    ("connector_retry_budget", "0", "2.5", "connector_retry_budget = 3", (0, 2.5, 3, 50)),
    (
        "secret_sources",
        "files",
        "Files, kubernetes",
        'secret_sources = ["request"]',
        (("files",), ("files", "kubernetes"), ("request",), ("request", "environment", "files")),
    ),
    (
        "egress_proxy",
        "http://a:1",
        "http://b:1",
        'egress-proxy = "http://c:1"',
        ("http://a:1", "http://b:1", "http://c:1", None),
    ),
    ("cancel_unpolled", True, "1", "cancel-unpolled = true", (True, True, True, False)),
    ("fail_after_fault", "60", "61", "fail_after_fault = 62", (60, 61, 62, 0)),
]


@pytest.mark.parametrize(("field", "flag", "variable", "line", "meant"), FIELDS)
def test_a_flag_wins_over_the_environment_which_wins_over_the_file_which_wins_over_the_default(
    *, field: str, flag: object, variable: str, line: str, meant: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(load(), field) == meant[3]
    write(line)
    assert getattr(load(), field) == meant[2]
    monkeypatch.setenv(f"CONNECTORS_{field.upper()}", variable)
    assert getattr(load(), field) == meant[1]
    assert getattr(load({field: flag}), field) == meant[0]


def test_a_flag_that_was_not_given_leaves_the_others_their_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_PORT", "5")
    assert load({"port": None}).port == 5


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_PORT", "")
    assert load().port == 8000


@pytest.mark.parametrize("variable", ["CONNECTORS_PORT", "CONNECTORS_METRICS_PORT"])
def test_what_kubernetes_says_of_a_service_named_connectors_is_no_setting(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "tcp://10.96.0.17:8000")
    assert (load().port, load().metrics_port) == (8000, 9090)
    assert notices(load(), [], []) == []


def test_the_file_is_named_by_flag_before_environment_before_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    write("port = 1")
    write("port = 2", "second.toml")
    write("port = 3", "third.toml")
    assert load().port == 1
    monkeypatch.setenv("CONNECTORS_CONFIG", "second.toml")
    assert load().port == 2
    assert load({"config": "third.toml"}).port == 3


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1


def test_a_stores_password_is_not_in_the_settings_repr() -> None:
    assert "hunter2" not in repr(load({"store": "postgresql://me:hunter2@db/x"}))


def test_a_proxys_password_is_in_no_repr() -> None:
    settings = load({"egress_proxy": "http://me:hunter2@proxy:3128"})
    assert settings.egress().proxy_for("https://platform.test/") == "http://me:hunter2@proxy:3128"
    assert "hunter2" not in repr(settings) + repr(settings.egress())


def test_a_plugins_secrets_are_in_a_table_of_the_file() -> None:
    write("""
        [secrets.acme]
        names = ["acme-*"]

        [secrets.acme.projects."research/production"]
        acme-token = "acme-research/token"
    """)
    own = load().plugin_secrets()["acme"]
    assert own.names == ("acme-*",)
    assert own.by_project == {"research/production": {"acme-token": "acme-research/token"}}


def test_every_setting_says_what_it_is() -> None:
    assert not [name for name, field in Settings.model_fields.items() if not field.description]


def test_limits_of_a_connector_replace_the_general_ones_where_they_are_given() -> None:
    write("connector_threads = 3\n[connectors.acme]\nconcurrency = 7\nqueue = 0\nretry_budget = 0\n")
    options = load().engine_options()
    acme, other = options.limits_for("acme"), options.limits_for("other")
    assert (acme.concurrency, acme.queue, acme.threads, acme.attempts, acme.retry_budget) == (7, 0, 3, 10, 0)
    assert (other.concurrency, other.queue, other.threads, other.retry_budget) == (256, 1024, 3, 50)


def test_the_engines_options_are_the_settings() -> None:
    flags = {
        "key_namespace": "blue",
        "concurrency": "11",
        "default_timeout": "1",
        "max_timeout": "2",
        "deadline_margin": "0.25",
        "create_timeout": "3",
        "do_timeout": "4",
        "lease": "5",
        "retry_initial": "0.5",
        "retry_max": "6",
        "result_ttl": "7",
        "result_max_bytes": "8",
        "store_retention": "3601",
        "rerun_after": "0",
        "orphan_after": "12",
        "unpolled_after": "13",
        "cancel_unpolled": True,
        "fail_after_fault": "14",
        "connector_retry_budget": "0.5",
    }
    options = load(flags).engine_options()
    assert options.key_namespace == "blue"
    assert options.concurrency == 11
    assert (options.default_timeout, options.max_timeout, options.margin) == (1, 2, 0.25)
    assert (options.create_timeout, options.do_timeout, options.lease) == (3, 4, 5)
    assert (options.retry_initial, options.retry_max) == (0.5, 6)
    assert (options.result_ttl, options.result_max_bytes, options.store_retention) == (7, 8, 3_601)
    assert (options.rerun_after, options.orphan_after, options.unpolled_after) == (0, 12, 13)
    assert (options.cancel_unpolled, options.fail_after_fault) == (True, 14)
    assert options.limits.retry_budget == 0.5


def test_what_is_not_set_is_as_the_engine_has_it() -> None:
    assert load().engine_options() == EngineOptions()


def test_a_plugins_settings_come_from_the_environment_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[plugins.big-query]\ntimeout = 1\nmax-rows = 2\n")
    monkeypatch.setenv("CONNECTORS_BIG_QUERY__TIMEOUT", "3")
    monkeypatch.setenv("CONNECTORS_BIG_QUERY__EMPTY", "")
    monkeypatch.setenv("CONNECTORS_OTHER__TIMEOUT", "4")
    assert plugin_settings(load(), ["big-query", "plain"]) == {
        "big-query": {
            "timeout": PluginSetting("3", "CONNECTORS_BIG_QUERY__TIMEOUT", is_text=True),
            "max_rows": PluginSetting(2, "[plugins.big-query] max-rows in connectors.toml"),
        },
        "plain": {},
    }


def test_a_variable_that_looks_like_a_setting_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_PROT", "1")
    monkeypatch.setenv("CONNECTORS_METRIC_PORT", "1")
    monkeypatch.setenv("CONNECTORS_BIGQURY__TIMEOUT", "1")
    monkeypatch.setenv("CONNECTORS_BIGQUERY__TIMEOUT", "1")
    monkeypatch.setenv("CONNECTORS_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("CONNECTORS_QUITE_ANOTHER", "1")
    assert notices(load(), ["bigquery"], []) == [
        "CONNECTORS_BIGQURY__TIMEOUT is not a setting; did you mean 'CONNECTORS_BIGQUERY__TIMEOUT'?",
        "CONNECTORS_METRIC_PORT is not a setting; did you mean 'CONNECTORS_METRICS_PORT'?",
        "CONNECTORS_PROT is not a setting; did you mean 'CONNECTORS_PORT'?",
    ]


def test_a_plugins_variable_with_one_underscore_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BIG_QUERY_REQUEST_TIMEOUT", "HTTP_HOST", "HTTP_PROXIES", "HTTP__HOSTS", "STORE"):
        monkeypatch.setenv(f"CONNECTORS_{variable}", "memory://")
    monkeypatch.setenv("CONNECTORS_HTTP_SERVICE_HOST", "10.0.0.1")
    fields = {"http": {"hosts", "service_hosts"}, "big-query": {"request_timeout"}}
    assert notices(load(), fields, [], fields) == [
        "CONNECTORS_BIG_QUERY_REQUEST_TIMEOUT is not a setting; did you mean 'CONNECTORS_BIG_QUERY__REQUEST_TIMEOUT'?",
        "CONNECTORS_HTTP_HOST is not a setting; did you mean 'CONNECTORS_HTTP__HOSTS'?",
    ]


def test_a_variable_whose_prefix_lacks_its_s_is_noticed_where_the_rest_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("STORE", "STOR", "HTTP__HOSTS", "HTPT__HOSTS"):
        monkeypatch.setenv(f"CONNECTOR_{variable}", "memory://")
    monkeypatch.setenv("CONNECTOR_PORT", "tcp://10.96.0.17:8000")
    assert notices(load(), ["http"], []) == [
        "CONNECTOR_HTTP__HOSTS is not a setting; did you mean 'CONNECTORS_HTTP__HOSTS'?",
        "CONNECTOR_STORE is not a setting; did you mean 'CONNECTORS_STORE'?",
    ]


def test_settings_of_a_task_type_that_nothing_serves_are_noticed() -> None:
    write('allow_task_types = ["gone"]\n[connectors.acem]\nqueue = 1\n')
    assert notices(load(), [], ["acme"]) == [
        "[connectors.…] names the task type 'acem', which no plugin serves; did you mean 'acme'?",
        "allow_task_types names the task type 'gone', which no plugin serves",
    ]
