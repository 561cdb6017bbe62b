"""A plugin's name: what can be one, and its forms."""

from __future__ import annotations

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from connectors._new.names import BadName, Names
from tests.packaging.workspace import PACKAGES


@pytest.mark.parametrize(
    "given", ["my-jobs", "My-Jobs", "my_jobs", "my.jobs", "connectors-my-jobs", "connectors_my_jobs"]
)
def test_names_that_pip_takes_for_the_same_are_the_same(given: str) -> None:
    assert Names.of(given) == Names("my-jobs")


def test_a_name_has_a_form_for_each_place() -> None:
    names = Names.of("my-jobs2")
    assert (names.distribution, names.module, names.title) == ("connectors-my-jobs2", "my_jobs2", "MyJobs2")


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        "-",
        "a b",
        "3d",
        "acme-",
        "-acme",
        "ac/me",
        "../acme",
        "acme!",
        "ácme",
        "acme\n",
        "Kelvin\u212a",
        "connectors-",
    ],
)
def test_what_cannot_name_a_plugin_is_refused_with_what_can(given: str) -> None:
    with pytest.raises(BadName, match="letters and digits, the first one a letter"):
        Names.of(given)


def test_a_name_of_32_characters_is_the_longest() -> None:
    assert Names.of("a" * 32).name == "a" * 32
    with pytest.raises(BadName, match="at most 32"):
        Names.of("a" * 33)


@pytest.mark.parametrize("distribution", [package.name for package in PACKAGES])
def test_the_project_s_own_packages_are_not_to_be_had(distribution: str) -> None:
    with pytest.raises(BadName, match=f"{distribution} is a package of this project"):
        Names.of(distribution)


@pytest.mark.parametrize("given", ["connector", "connectors"])
def test_a_name_whose_classes_would_be_the_kit_s_is_refused(given: str) -> None:
    with pytest.raises(BadName, match="choose another"):
        Names.of(given)


@pytest.mark.parametrize("given", ["test", "testrail", "test-jobs"])
def test_a_name_whose_classes_pytest_would_take_for_tests_is_refused(given: str) -> None:
    with pytest.raises(BadName, match="pytest"):
        Names.of(given)


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_.-]{1,34}", fullmatch=True))
def test_whatever_is_taken_is_a_distribution_a_module_and_a_class(given: str) -> None:
    try:
        names = Names.of(given)
    except BadName:
        return
    try:
        assert Requirement(names.distribution).name == names.distribution
    except InvalidRequirement as error:
        raise AssertionError(names) from error
    assert canonicalize_name(names.distribution) == names.distribution
    assert f"connectors_{names.module}".isidentifier()
    assert f"{names.title}Connector".isidentifier()
    assert not keyword.iskeyword(f"{names.title}Connector")


def test_a_template_s_words_are_filled_in_once() -> None:
    text = "connectors-acme connectors_acme CONNECTORS_ACME__X FakeAcme acme_token"
    filled = "connectors-acme-cloud connectors_acme_cloud CONNECTORS_ACME_CLOUD__X FakeAcmeCloud acme_cloud_token"
    assert Names.of("acme-cloud").fill_in(text) == filled
