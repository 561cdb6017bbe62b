"""Every bad setting is one line: which, where it was set, what was expected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connectors._settings import SettingsError, load, plugin_settings


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("CONNECTORS_"):
            monkeypatch.delenv(variable)


def problems(**flags: object) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as error:
        load(flags)
    assert all("\n" not in line for line in error.value.problems)
    return error.value.problems


@pytest.mark.parametrize(
    ("flag", "value", "line"),
    [
        ("port", "abc", "--port: must be a whole number, not 'abc'"),
        ("port", "1.5", "--port: must be a whole number, not '1.5'"),
        ("port", "-1", "--port: must be greater than or equal to 0, not '-1'"),
        ("port", "70000", "--port: must be less than or equal to 65535, not '70000'"),
        ("grace", "soon", "--grace: must be a number, not 'soon'"),
        ("grace", "nan", "--grace: must be a finite number, not 'nan'"),
        ("grace", "-1", "--grace: must be greater than or equal to 0, not '-1'"),
        ("lease", "0", "--lease: must be greater than 0, not '0'"),
        ("log_format", "xml", "--log-format: must be 'console' or 'json', not 'xml'"),
        ("log_level", "loud", "--log-level: must be 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ("connector_attempts", "0", "--connector-attempts: must be greater than or equal to 1, not '0'"),
        ("connector_retry_budget", "-1", "--connector-retry-budget: must be greater than or equal to 0, not '-1'"),
        ("orphan_after", "0", "--orphan-after: must be greater than 0, not '0'"),
        ("unpolled_after", "2h", "--unpolled-after: must be a number, not '2h'"),
        ("host", "", "--host: must name an address; 0.0.0.0 is every interface, not ''"),
        ("metrics_host", " ", "--metrics-host: must name an address; 0.0.0.0 is every interface, not ' '"),
        (
            "secret_sources",
            "files,vault",
            "--secret-sources: must be 'request', 'environment', 'files' or 'kubernetes', not 'vault'",
        ),
        ("secret_sources", "files,files", "--secret-sources: must not name one twice, not 'files,files'"),
        (
            "egress_proxy",
            "socks5://me:hunter2@proxy:1080",
            "--egress-proxy: must be a proxy's address, http://host:port or http://user:password@host:port",
        ),
        ("max_message_bytes", "4MB", "--max-message-bytes: must be a whole number, not '4MB'"),
    ],
)
def test_a_bad_flag_is_named_with_what_was_expected(flag: str, value: str, line: str) -> None:
    assert problems(**{flag: value}) == (line,)


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_METRICS_PORT", "http")
    assert problems() == ("CONNECTORS_METRICS_PORT: must be a whole number, not 'http'",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("port = 'http'", "port in c.toml: must be a whole number, not 'http'"),
        ("reflection = 'maybe'", "reflection in c.toml: must be true or false, not 'maybe'"),
        ("host = 7", "host in c.toml: must be a string, not 7"),
        ("allow_plugins = 7", "allow_plugins in c.toml: must be a list, not 7"),
        ("allow_plugins = [7]", "allow_plugins in c.toml: must be a string, not 7"),
        ("prot = 1", "prot in c.toml: there is no such setting; did you mean 'port'?"),
        ("config = 'x'", "config in c.toml: there is no such setting"),
        ("zzz = 1", "zzz in c.toml: there is no such setting"),
        (
            "max-timeout = 20\nmax_timeout = 20",
            "max_timeout in c.toml: is given twice, as max_timeout and as max-timeout",
        ),
        (
            "[connectors.acme]\nqueue = -1",
            "[connectors.acme] queue in c.toml: must be greater than or equal to 0, not -1",
        ),
        (
            "[connectors.acme]\nretry_budget = inf",
            "[connectors.acme] retry_budget in c.toml: must be a finite number, not inf",
        ),
        (
            "[connectors.acme]\nconcurency = 1",
            "[connectors.acme] concurency in c.toml: there is no such setting; did you mean 'concurrency'?",
        ),
        ("connectors = 1", "[connectors] in c.toml: must be a valid dictionary, not 1"),
        ("plugins = 'hunter2'", "[plugins] in c.toml: must be a valid dictionary"),
        (
            "[secrets.acme]\nname = ['token']",
            "[secrets.acme] name in c.toml: there is no such setting; did you mean 'names'?",
        ),
        (
            "[secrets.acme]\nnames = ['a/b']",
            "[secrets.acme] in c.toml: each of names must be a secret's name, in which * and ? are wildcards",
        ),
        (
            "[secrets.acme.projects.'a/b/c']\ntoken = 'other'",
            "[secrets.acme] in c.toml: projects: 'a/b/c' must be 'project', 'project/domain' or '*/domain'",
        ),
        (
            "[secrets.acme.projects.lab]\ntoken = '../hunter2'",
            "[secrets.acme] in c.toml: projects: 'lab': names must be 'name' or, on the right, 'name/key'",
        ),
        ("[secrets.acme.projects.lab]\ntoken = 7", "[secrets.acme] projects in c.toml: must be a string"),
        ("default_timeout = 100", "--default-timeout must not be longer than --max-timeout"),
        ("retry_initial = 100", "--retry-initial must not be longer than --retry-max"),
    ],
)
def test_a_bad_line_of_the_file_is_named(text: str, line: str) -> None:
    Path("c.toml").write_text(text, "utf-8")
    assert problems(config="c.toml") == (line,)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"tls_certificate": "a.pem"}, "--tls-certificate and --tls-key need each other"),
        ({"tls_key": "a.key"}, "--tls-certificate and --tls-key need each other"),
        ({"tls_client_ca": "a.pem"}, "--tls-client-ca needs --tls-certificate and --tls-key"),
    ],
)
def test_settings_of_tls_that_lack_each_other_are_refused_by_their_flags(flags: dict[str, str], line: str) -> None:
    assert problems(**flags) == (line,)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_same_port_twice_on_one_host_is_refused_with_both_flags(host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    line = f"cannot listen on {shown}:7000 twice: --port and --metrics-port name the same port"
    assert problems(host=host, port="7000", metrics_port="7000") == (line,)
    assert problems(host=host, port="7000", metrics_port="7000", metrics_host=host) == (line,)


def test_the_same_port_on_two_hosts_is_no_mistake() -> None:
    assert load({"port": "7000", "metrics_port": "7000", "metrics_host": "127.0.0.2"}).port == 7000


def test_two_free_ports_are_no_mistake() -> None:
    assert load({"port": "0", "metrics_port": "0"}).port == 0


@pytest.mark.parametrize("other", ["unpolled_after", "orphan_after", "rerun_after"])
def test_records_are_kept_for_longer_than_anything_is_judged_by(other: str) -> None:
    line = f"--store-retention must be longer than --{other.replace('_', '-')}"
    assert problems(store_retention="9000", **{other: "9000"}) == (line,)
    assert load({"store_retention": "9001", other: "9000"}).store_retention == 9_001


def test_records_are_kept_for_longer_than_polls_go_unnoted() -> None:
    line = "--store-retention must be longer than 3600 (an hour)"
    assert problems(store_retention="3600", unpolled_after="60") == (line,)


def test_each_problem_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTORS_GRACE", "x")
    assert sorted(problems(port="x")) == [
        "--port: must be a whole number, not 'x'",
        "CONNECTORS_GRACE: must be a number, not 'x'",
    ]


def test_a_file_that_is_no_toml_is_named_with_the_place() -> None:
    Path("c.toml").write_text("port = \n", "utf-8")
    (line,) = problems(config="c.toml")
    assert line.startswith("c.toml: is not valid TOML: ")
    assert "line 1" in line


def test_a_file_that_is_no_text_is_named() -> None:
    Path("c.toml").write_bytes(b"\xff\xfe")
    (line,) = problems(config="c.toml")
    assert line.startswith("c.toml: is not valid TOML: ")


def test_a_named_file_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(config="c.toml") == ("c.toml: there is no such file",)
    monkeypatch.setenv("CONNECTORS_CONFIG", "d.toml")
    assert problems() == ("d.toml: there is no such file",)


def test_a_folder_is_no_file() -> None:
    Path("c.toml").mkdir()
    assert problems(config="c.toml") == ("c.toml: cannot be read: Is a directory",)


def test_a_long_value_is_cut() -> None:
    (line,) = problems(port="9" * 10_000)
    assert len(line) < 200


def test_a_stores_url_is_never_shown() -> None:
    Path("c.toml").write_text("store = ['postgresql://me:hunter2@db/x']", "utf-8")
    assert problems(config="c.toml") == ("store in c.toml: must be a string",)


def test_settings_of_a_plugin_that_is_not_installed_are_an_error() -> None:
    Path("connectors.toml").write_text("[plugins.bigqury]\ntimeout = 1\n", "utf-8")
    with pytest.raises(SettingsError) as error:
        plugin_settings(load(), ["bigquery"])
    assert error.value.problems == (
        "[plugins.bigqury] in connectors.toml: no such plugin is installed; did you mean 'bigquery'?",
    )


def test_secrets_of_a_plugin_that_is_not_installed_are_an_error() -> None:
    Path("connectors.toml").write_text("[secrets.bigqury]\nnames = ['token']\n", "utf-8")
    with pytest.raises(SettingsError) as error:
        plugin_settings(load(), ["bigquery"])
    assert error.value.problems == (
        "[secrets.bigqury] in connectors.toml: no such plugin is installed; did you mean 'bigquery'?",
    )
