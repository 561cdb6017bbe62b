"""docs/operate/kubernetes.md says what the chart does."""

from __future__ import annotations

from pathlib import Path

from tests.deploy.chart_values import PAGE, defaults, generated, schema
from tests.deploy.helm import KUBERNETES, helm, rendered
from tests.docs.blocks import ROOT, blocks_of

TEXT = PAGE.read_text("utf-8")
BLOCKS = blocks_of(TEXT)


def test_the_table_of_values_is_the_chart_s() -> None:
    assert generated(TEXT) == TEXT  # python -m tests.deploy.chart_values


def test_every_value_has_a_schema() -> None:
    assert schema()["properties"].keys() - {"global"} == defaults().keys()


def test_the_page_s_values_make_a_release(tmp_path: Path) -> None:
    [block] = [block for block in BLOCKS if block.title]
    values = tmp_path / block.title
    values.write_text(block.text, "utf-8")
    [deployment] = [each for each in rendered(values=values) if each["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 2


def test_the_commands_name_what_there_is(tmp_path: Path) -> None:
    build, push, install = [command for block in BLOCKS if block.language == "sh" for command in block.commands]
    words = build.split()
    assert (ROOT / words[words.index("-f") + 1]).is_file()
    assert words[words.index("-t") + 1] == push.split()[-1]
    [block] = [block for block in BLOCKS if block.title]
    (tmp_path / block.title).write_text(block.text, "utf-8")
    program, verb, *arguments = install.replace(block.title, str(tmp_path / block.title)).split()
    assert (program, verb) == ("helm", "install")
    done = helm("template", *(str(ROOT / each) if each.startswith("deploy/") else each for each in arguments))
    assert done.returncode == 0, done.stderr
    assert f'image: "{push.split()[-1]}"' in done.stdout


def test_the_supported_versions_are_those_that_are_checked() -> None:
    first, last = KUBERNETES[0], KUBERNETES[-1]
    said = f"each version of Kubernetes from {first}, the oldest that it can be installed on, to {last}"
    assert said in " ".join(TEXT.split())
