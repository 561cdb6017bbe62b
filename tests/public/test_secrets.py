"""Where secrets are found, in which order, and that they are hidden afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors import FailedPrecondition, InvalidRequest, Secrets
from connectors.secrets import EnvironmentSecrets, FileSecrets, RequestSecrets, redact

pytestmark = pytest.mark.anyio


async def test_the_first_source_that_has_it_wins() -> None:
    secrets = Secrets([RequestSecrets({"a": "fake-first"}), RequestSecrets({"a": "fake-second", "b": "fake-third"})])
    assert await secrets.get("a") == "fake-first"
    assert await secrets.get("b") == "fake-third"


async def test_a_missing_secret_is_named_and_where_it_was_looked_for() -> None:
    with pytest.raises(FailedPrecondition, match=r"'token'.*request.*environment.*file"):
        await Secrets([]).get("token")
    assert await Secrets([]).find("token") is None


@pytest.mark.parametrize("name", ["", "../etc/passwd", "a/b", ".hidden", "a b", "x" * 300, "a\0b", "ä"])
async def test_a_name_that_could_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        await Secrets([RequestSecrets({name: "fake"})]).get(name)


@pytest.mark.parametrize("variable", ["_FSEC_TOKEN", "TOKEN", "token"])
async def test_the_environment_has_it_under_three_names(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "fake-value")
    assert await EnvironmentSecrets().get("token") == "fake-value"


async def test_an_empty_variable_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "")
    assert await EnvironmentSecrets().get("token") is None


async def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    source = FileSecrets(tmp_path)
    assert await source.get("token") is None
    (tmp_path / "token").write_text("fake-one\n")
    assert await source.get("TOKEN") == "fake-one"
    (tmp_path / "token").write_text("fake-two\n")
    assert await source.get("token") == "fake-two"


async def test_a_file_that_is_no_text_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(FailedPrecondition, match="'token'"):
        await FileSecrets(tmp_path).get("token")


async def test_what_was_handed_out_is_hidden_from_then_on() -> None:
    assert redact("Bearer fake-hidden-value") == "Bearer fake-hidden-value"
    await Secrets([RequestSecrets({"t": "fake-hidden-value"})]).get("t")
    assert redact("Bearer fake-hidden-value!") == "Bearer [secret]!"


async def test_a_short_value_hides_no_ordinary_words() -> None:
    await Secrets([RequestSecrets({"t": "ab"})]).get("t")
    assert redact("about") == "about"


async def test_no_value_is_in_the_repr() -> None:
    secrets = Secrets([RequestSecrets({"t": "fake-hidden-value"})])
    await secrets.get("t")
    assert "fake" not in repr(secrets)


async def test_a_text_that_holds_a_value_of_this_call_leaks() -> None:
    secrets = Secrets([RequestSecrets({"long": "fake-0123456789-long", "short": "default"})])
    assert not secrets.leaks("fake-0123456789-long")
    await secrets.get("long")
    await secrets.get("short")
    assert secrets.leaks('{"auth":"fake-0123456789-long"}')
    assert not secrets.leaks('{"schema":"default"}')
