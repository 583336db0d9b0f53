"""A lab whose place has a proxy, an authority or mirrors: hosts have them before anything is installed, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest

from components.settings import SettingsError
from tests.graph.declared import Declare

SITE = {"registries": {"docker.io": "https://mirror.example:5000"}}


def triggers(graph: Any) -> dict[str, Any]:
    return {name: r.plain["triggers"] for name, r in graph.commands.items() if "triggers" in r.plain}


def test_hosts_have_it_before_anything_is_installed(lab: Declare) -> None:
    graph = lab(SITE)
    for number in (1, 2, 3):
        assert f"site-host-{number}" in graph.after(f"stage-host-{number}")
        assert graph.deleted_with(f"site-host-{number}") == f"host-{number}"


def test_a_standing_lab_that_is_told_installs_nothing_again(lab: Declare) -> None:
    before, after = triggers(lab()), triggers(lab(SITE))
    assert set(after) - set(before) == {"site-host-1", "site-host-2", "site-host-3"}
    assert {name: after[name] for name in before} == before


def test_other_mirrors_run_that_step_again_and_no_other(lab: Declare) -> None:
    first, second = triggers(lab(SITE)), triggers(lab({"registries": {"*": "https://mirror.example:5000"}}))
    assert {name for name in first if first[name] != second[name]} == {"site-host-1", "site-host-2", "site-host-3"}


def test_a_lab_without_such_settings_has_no_such_step(lab: Declare) -> None:
    assert not [name for name in lab().commands if name.startswith("site")]


def test_an_authority_that_is_not_there_is_said_before_anything_is_declared(lab: Declare) -> None:
    with pytest.raises(SettingsError, match=r"ca: no/such\.pem: there is no such file"):
        lab({"ca": "no/such.pem"})


def test_what_a_distribution_cant_be_told_is_said_before_anything_is_declared(lab: Declare) -> None:
    with pytest.raises(SettingsError, match=r"registries: '\*' can't be told to microshift"):
        lab({"distribution": "microshift", "registries": {"*": "https://mirror.example:5000"}})
