"""``connectors list``, ``check`` and ``serve`` where it does not start, through real processes."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import importlib_metadata
import pytest

from tests.cli.conftest import Run
from tests.registry.distributions import ASYNC, SYNC, write_distribution

OURS = "--allow-plugins=acme,talk,broken"
NO_PORTS = ("--port=0", "--metrics-port=0", "--store=memory://")


@pytest.fixture
def two_plugins(plugins: Path) -> Path:
    """An async one and a sync one."""
    acme = ASYNC.format(name="Connector", task_type="acme_job")
    write_distribution(plugins, "acme-connectors", acme, entry_points={"acme": "Connector"}, version="2.5")
    write_distribution(plugins, "talk", SYNC.format(name="Connector", task_type="talk"))
    return plugins


@pytest.fixture
def broken_plugin(plugins: Path) -> Path:
    write_distribution(plugins, "broken-dist", "raise SystemExit('no licence')", entry_points={"broken": "Connector"})
    return plugins


def rows(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines() if line.strip()]


def test_help_names_the_commands(run: Run) -> None:
    result = run("--help")
    assert result.returncode == 0
    in_order = ("serve", "list", "check", "run", "create", "get", "delete", "logs", "new", "jobs")
    places = [result.stdout.index(f"│ {name} ") for name in in_order]
    assert places == sorted(places)


def test_version_is_that_of_the_distribution(run: Run) -> None:
    assert run("--version").stdout == f"connectors {importlib_metadata.version('connectors-service')}\n"


def prints_what_it_loads(plugins: Path, *names: str) -> None:
    """Have each process print, as its last line, which of these modules it loaded."""
    (plugins / "sitecustomize.py").write_text(
        f"import atexit, sys\natexit.register(lambda: print('loaded', sorted(set({names}) & set(sys.modules))))\n",
        "utf-8",
    )


def test_help_loads_no_server_and_no_plugin(run: Run, plugins: Path) -> None:
    heavy = ("grpclib", "aiohttp", "prometheus_client", "uvloop", "connectors._wire", "connectors_bigquery")
    prints_what_it_loads(plugins, *heavy)
    assert run("--help").stdout.splitlines()[-1] == "loaded []"


def test_serve_loads_no_other_command(run: Run, plugins: Path) -> None:
    prints_what_it_loads(plugins, "connectors._ledger", "connectors._new", "connectors._run.commands")
    assert run("serve", "--help").stdout.splitlines()[-1] == "loaded []"


def test_every_setting_is_a_flag_of_serve_and_check(run: Run) -> None:
    for command in ("serve", "check"):
        text = run(command, "--help").stdout
        for flag in ("--host", "--port", "--metrics-port", "--store", "--key-namespace", "--config", "--log-format"):
            assert f" {flag} " in text
        assert "[default: (8000)]" in text


def test_list_shows_each_connector_and_where_it_is_from(run: Run, two_plugins: Path) -> None:
    result = run("list", "--allow-plugins=acme,talk")
    assert (result.returncode, result.stderr) == (0, "")
    assert rows(result.stdout) == [
        ["TASK", "TYPE", "VERSION", "KIND", "DEDUPE", "RESULTS", "PLUGIN", "DISTRIBUTION"],
        ["acme_job", "0", "async", "none", "prefix", "acme", "acme-connectors", "2.5"],
        ["talk", "0", "sync", "-", "-", "talk", "talk", "1.0"],
    ]


def test_list_shows_what_a_connector_declares_of_repeats_and_results(run: Run, plugins: Path) -> None:
    source = ASYNC.format(name="Connector", task_type="acme_job") + "    dedupe, results_inline = 'search', True\n"
    write_distribution(plugins, "acme", source)
    assert rows(run("list", "--allow-plugins=acme").stdout)[1][:5] == ["acme_job", "0", "async", "search", "inline"]
    (shown,) = json.loads(run("list", "--json", "--allow-plugins=acme").stdout)["connectors"]
    assert (shown["dedupe"], shown["results_inline"]) == ("search", True)


def test_list_says_of_an_unknown_word_for_dedupe_what_it_should_be(run: Run, plugins: Path) -> None:
    source = ASYNC.format(name="Connector", task_type="acme_job") + "    dedupe = 'natve'\n"
    write_distribution(plugins, "acme", source)
    assert "dedupe must be one of 'native', 'search', 'none'; it is 'natve'" in run("list", OURS).stdout


def test_list_shows_what_cannot_be_loaded_with_its_reason(run: Run, two_plugins: Path, broken_plugin: Path) -> None:
    result = run("list", OURS)
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == (
        "Cannot be used: plugin 'broken' of broken-dist: module_of_broken_dist:Connector cannot be imported:"
        " SystemExit: no licence"
    )


def test_list_as_json_holds_the_same(run: Run, two_plugins: Path, broken_plugin: Path) -> None:
    shown = json.loads(run("list", "--json", OURS).stdout)
    assert shown["connectors"][0] == {
        "task_type": "acme_job",
        "task_type_version": 0,
        "kind": "async",
        "dedupe": "none",
        "results_inline": False,
        "plugin": "acme",
        "distribution": "acme-connectors",
        "distribution_version": "2.5",
    }
    assert [connector["task_type"] for connector in shown["connectors"]] == ["acme_job", "talk"]
    assert (shown["connectors"][1]["dedupe"], shown["connectors"][1]["results_inline"]) == (None, None)
    (failure,) = shown["failures"]
    assert (failure["plugin"], failure["distribution"]) == ("broken", "broken-dist")
    assert failure["reason"].endswith("SystemExit: no licence")


def test_list_says_so_where_nothing_is_served(run: Run) -> None:
    assert run("list", "--allow-plugins=").stdout.startswith("no connector is served: --allow-plugins leaves out")


def test_list_leaves_text_of_plugins_as_it_is(run: Run, plugins: Path) -> None:
    write_distribution(plugins, "broken", "raise ValueError('[red]x[/nothing]')")
    assert "ValueError: [red]x[/nothing]" in run("list", OURS).stdout


def test_check_is_content_where_nothing_is_wrong(run: Run, two_plugins: Path) -> None:
    result = run("check", "--allow-plugins=acme,talk", "--store=memory://")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "ok    settings: can be used",
        "ok    acme_job@0: async, by plugin 'acme'",
        "ok    talk@0: sync, by plugin 'talk'",
        "ok    store: can be opened",
    ]


def test_check_opens_the_embedded_store_by_default(run: Run, two_plugins: Path) -> None:
    assert run("check", "--allow-plugins=acme,talk").returncode == 0


def test_check_fails_for_a_plugin_that_cannot_be_loaded(run: Run, two_plugins: Path, broken_plugin: Path) -> None:
    result = run("check", OURS, "--store=memory://")
    assert result.returncode == 1
    assert "FAULT plugin broken: plugin 'broken' of broken-dist: " in result.stdout
    assert "ok    talk@0" in result.stdout


def test_check_fails_for_a_connector_that_does_not_start(run: Run, plugins: Path) -> None:
    source = SYNC.format(name="Connector", task_type="talk")
    write_distribution(
        plugins, "talk", source + "\n    async def start(self, http):\n        raise OSError('no route')\n"
    )
    result = run("check", "--allow-plugins=talk", "--store=memory://")
    assert result.returncode == 1
    assert "the connector of talk@0 did not start: OSError: no route" in result.stdout


def test_check_fails_for_a_store_that_cannot_be_opened(run: Run, two_plugins: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database", "utf-8")
    result = run("check", "--allow-plugins=acme,talk", f"--store=sqlite://{tmp_path}/file")
    assert result.returncode == 1
    assert "FAULT store: --store: " in result.stdout


def test_check_fails_for_a_setting_of_a_task_type_that_is_not_served(run: Run, two_plugins: Path, work: Path) -> None:
    (work / "connectors.toml").write_text("[connectors.acme_jbo]\nqueue = 1\n", "utf-8")
    result = run("check", "--allow-plugins=acme,talk", "--store=memory://")
    assert result.returncode == 1
    assert "FAULT settings: [connectors.…] names the task type 'acme_jbo'" in result.stdout


def test_check_fails_for_a_secret_source_whose_extra_is_missing(run: Run, two_plugins: Path) -> None:
    (two_plugins / "sitecustomize.py").write_text("import sys\nsys.modules['lightkube'] = None\n", "utf-8")
    sources = ("--secret-sources=request,kubernetes", "--secret-namespaces=team-*")
    needs = "kubernetes needs what its extra installs: pip install 'connectors-service[kubernetes]'"
    result = run("check", OURS, "--store=memory://", *sources)
    assert (result.returncode, result.stderr) == (1, "")
    assert f"FAULT settings: --secret-sources: {needs}" in result.stdout
    result = run("serve", OURS, *NO_PORTS, *sources)
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, f"connectors: --secret-sources: {needs}")


def test_check_tells_of_a_secret_folder_that_is_not_there_and_is_content(
    run: Run, two_plugins: Path, work: Path
) -> None:
    result = run("check", "--allow-plugins=acme,talk", "--store=memory://", f"--secret-folders=/nowhere,{work}")
    assert result.returncode == 0
    assert "ok    settings: to be looked at: --secret-folders: there is no folder /nowhere now" in result.stdout
    assert str(work) not in result.stdout


def test_authorities_that_cannot_be_read_keep_the_server_from_starting(run: Run, two_plugins: Path) -> None:
    for command in (("check", "--store=memory://"), ("serve", *NO_PORTS)):
        result = run(*command, OURS, "--egress-ca-file=/nowhere/ca.pem")
        assert result.returncode == 1
        assert "/nowhere/ca.pem cannot be read: No such file" in result.stdout + result.stderr


def test_a_proxys_password_is_nowhere(run: Run, two_plugins: Path) -> None:
    for address in ("ftp://me:hunter2@proxy:1", "http://me:hunter2@proxy:1/path", "http://me:hunter2@proxy:1"):
        result = run("check", OURS, "--store=memory://", f"--egress-proxy={address}")
        assert "hunter2" not in result.stdout + result.stderr


def test_check_fails_for_a_projects_secret_that_its_plugin_does_not_ask_for(
    run: Run, plugins: Path, work: Path
) -> None:
    source = ASYNC.format(name="Connector", task_type="acme_job") + "    secret_names = ('acme-token',)\n"
    write_distribution(plugins, "acme", source)
    (work / "connectors.toml").write_text("[secrets.acme.projects.lab]\nacme-tokn = 'lab-token'\n", "utf-8")
    result = run("check", "--allow-plugins=acme", "--store=memory://")
    assert result.returncode == 1
    assert "'lab' names the secret 'acme-tokn', which the plugin does not ask for; did you mean 'acme-token'" in (
        result.stdout
    )


def test_names_of_secrets_that_are_one_text_are_a_fault_of_the_plugin(run: Run, plugins: Path) -> None:
    source = ASYNC.format(name="Connector", task_type="acme_job") + "    secret_names = 'acme-token'\n"
    write_distribution(plugins, "acme", source)
    assert "Connector.secret_names must be a tuple of names" in run("list", "--allow-plugins=acme").stdout


@pytest.mark.parametrize(
    ("flags", "reasons"),
    [
        (["--allow-plugins="], ["--allow-plugins leaves out ", "acme, ", "talk"]),
        (["--allow-plugins=acme", "--deny-plugins=acme,talk"], ["--deny-plugins leaves out acme, talk"]),
        (["--allow-plugins=broken"], ["--allow-plugins leaves out acme, ", "; cannot be used: broken"]),
        (
            [OURS, "--allow-task-types=other"],
            [
                "cannot be used: broken; ",
                "task types left out by --allow-task-types or --deny-task-types: acme, talk",
            ],
        ),
    ],
)
def test_check_fails_where_nothing_is_served_and_says_why(
    run: Run, two_plugins: Path, broken_plugin: Path, flags: list[str], reasons: list[str]
) -> None:
    result = run("check", *flags, "--store=memory://")
    assert result.returncode == 1
    (line,) = [line for line in result.stdout.splitlines() if "no connector is served" in line]
    assert line.startswith("FAULT plugins: no connector is served: ")
    assert [reason for reason in reasons if reason not in line] == []
    assert "install" not in line


@pytest.mark.parametrize("command", ["serve", "check", "list"])
def test_a_bad_setting_is_one_line_and_exit_code_2(run: Run, work: Path, command: str) -> None:
    (work / "connectors.toml").write_text("prot = 1\n", "utf-8")
    result = run(command)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "connectors: prot in connectors.toml: there is no such setting; did you mean 'port'?\n"


def test_a_bad_flag_and_a_bad_variable_are_a_line_each(run: Run) -> None:
    result = run("serve", "--port=abc", CONNECTORS_GRACE="soon")
    assert result.returncode == 2
    assert sorted(result.stderr.splitlines()) == [
        "connectors: --port: must be a whole number, not 'abc'",
        "connectors: CONNECTORS_GRACE: must be a number, not 'soon'",
    ]


def test_an_unknown_flag_is_exit_code_2(run: Run) -> None:
    result = run("serve", "--prot=1")
    assert result.returncode == 2
    assert "--prot" in result.stderr
    assert "Traceback" not in result.stderr


SETTINGS = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Settings:
    timeout: float = 30.0
"""


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("CONNECTORS_TALK__TIMEOUT", "CONNECTORS_TALK__TIMEOUT: must be a number"),
        (
            "CONNECTORS_TALK__TIEMOUT",
            "CONNECTORS_TALK__TIEMOUT: plugin 'talk' has no such setting; did you mean 'timeout'?",
        ),
    ],
)
def test_a_bad_setting_of_a_plugin_keeps_the_server_from_starting(
    run: Run, plugins: Path, variable: str, said: str
) -> None:
    source = SETTINGS + SYNC.format(name="Connector", task_type="talk") + "    Settings = Settings\n"
    write_distribution(plugins, "talk", source)
    result = run("serve", "--allow-plugins=talk", *NO_PORTS, **{variable: "soon"})
    assert (result.returncode, result.stderr) == (2, f"connectors: plugin 'talk' of talk: {said}\n")


def test_check_fails_for_a_plugins_variable_with_one_underscore(run: Run, plugins: Path) -> None:
    source = SETTINGS + SYNC.format(name="Connector", task_type="talk") + "    Settings = Settings\n"
    write_distribution(plugins, "talk", source)
    result = run("check", "--allow-plugins=talk", "--store=memory://", CONNECTORS_TALK_TIMEOUT="3")
    said = "CONNECTORS_TALK_TIMEOUT is not a setting; did you mean 'CONNECTORS_TALK__TIMEOUT'?"
    assert (result.returncode, f"FAULT settings: {said}" in result.stdout) == (1, True)


def test_a_store_that_is_none_is_one_line_without_its_password(run: Run) -> None:
    result = run("serve", "--allow-plugins=", "--port=0", "--metrics-port=0", "--store=oracle://me:hunter2@db/x")
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("connectors: ")]
    assert line.startswith("connectors: --store: no store is known for oracle://")
    assert "hunter2" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("flag", "other"), [("--port", "--metrics-port"), ("--metrics-port", "--port")])
def test_a_port_that_is_taken_is_one_line(run: Run, flag: str, other: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", "--allow-plugins=", f"{flag}={port}", f"{other}=0", "--store=memory://")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"connectors: cannot listen on 127.0.0.1:{port} ({flag}): address already in use"
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("flag", ["--host", "--metrics-host"])
def test_a_host_that_is_none_is_one_line_with_its_flag(run: Run, flag: str) -> None:
    result = run("serve", "--allow-plugins=", f"{flag}=no.such.host.invalid", *NO_PORTS)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"connectors: cannot listen on no.such.host.invalid:0 ({flag}): ")


def test_an_address_of_another_machine_is_one_line_with_its_flag(run: Run) -> None:
    result = run("serve", "--allow-plugins=", "--host=192.0.2.1", *NO_PORTS)  # RFC 5737: nobody's
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("connectors: cannot listen on 192.0.2.1:0 (--host): ")


@pytest.mark.parametrize("command", ["serve", "check"])
def test_the_same_port_twice_is_one_line(run: Run, command: str) -> None:
    result = run(command, "--allow-plugins=", "--port=7000", "--metrics-port=7000", "--store=memory://")
    line = "connectors: cannot listen on 127.0.0.1:7000 twice: --port and --metrics-port name the same port\n"
    assert (result.returncode, result.stderr) == (2, line)


@pytest.mark.parametrize("host", ["bad..name", "a" * 64])
def test_a_host_that_can_be_no_name_is_one_line(run: Run, host: str) -> None:
    result = run("serve", "--allow-plugins=", f"--host={host}", *NO_PORTS)
    line = f"connectors: cannot listen on {host}:0 (--host): this can be no host's name"
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, line)
    assert "Traceback" not in result.stderr


def test_strict_plugins_refuses_to_start_and_names_each_failure(run: Run, plugins: Path, broken_plugin: Path) -> None:
    source = SYNC.format(name="Connector", task_type="talk")
    write_distribution(
        plugins, "talk", source + "\n    async def start(self, http):\n        raise OSError('no route')\n"
    )
    result = run("serve", "--strict-plugins", "--allow-plugins=broken", *NO_PORTS)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("connectors: --strict-plugins: plugin 'broken' of broken-dist: ")
    result = run("serve", "--strict-plugins", "--allow-plugins=talk", *NO_PORTS)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "connectors: --strict-plugins: plugin 'talk' of talk: the connector of talk@0 did not start: OSError: no route"
    )
