"""A lab of upstream Kubernetes whose version changes is upgraded, and nothing of it is installed again."""

from __future__ import annotations

import pytest

from components.catalog import pins
from components.config.lab_file import parse
from components.config.settings import DEFAULT_MINOR, SettingsError
from tests.graph.declared import Declare, Graph

MINORS = list(pins.versions("upstream"))


def changed(before: Graph, after: Graph) -> set[str]:
    """Commands whose inputs differ, or that only one of them has."""
    names = before.commands.keys() | after.commands.keys()
    return {n for n in names if n not in before.commands or before.commands[n].inputs != after.commands[n].inputs}


@pytest.mark.parametrize("controllers", [1, 3])
def test_no_step_but_artifacts_and_upgrade_knows_the_version(lab: Declare, controllers: int) -> None:
    shape = {"controllers": controllers, "workloads": ["pods-8"]}
    before, after = lab({**shape, "minor": "1.35"}), lab({**shape, "minor": "1.36"})
    # What reads the version for the results measures again.
    assert changed(before, after) == {"artifacts", "upgrade", "access", "workload-pods-8"}
    assert before.commands["upgrade"].plain["triggers"] != after.commands["upgrade"].plain["triggers"]


def test_controllers_are_upgraded_first(lab: Declare) -> None:
    graph = lab({"controllers": 3, "workers": 2})
    environment = graph.commands["upgrade"].plain["environment"]
    assert environment["HOSTS"] == "host-1 host-2 host-3 host-4 host-5"
    assert environment["FIRST"] == "host-1"
    roles = {name: command.plain for name, command in graph.commands.items() if name.startswith("controller")}
    assert roles.keys() == {"controller", "controller-host-2", "controller-host-3"}


def test_the_upgrade_comes_between_the_last_node_and_the_verification(lab: Declare) -> None:
    graph = lab({})
    assert {"node-host-1", "node-host-2", "node-host-3"} <= graph.after("upgrade")
    assert "upgrade" in graph.after("verify")
    assert "artifacts" in graph.after("stage-host-1")


def test_a_host_made_anew_is_not_a_reason_to_upgrade(lab: Declare) -> None:
    before, after = lab({}), lab({}, identities={"host-2": "another-machine"})
    assert "upgrade" not in changed(before, after)


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("form", ["minor", "version", "both", "without v"])
def test_each_version_that_set_up_builds_is_taken(lab: Declare, minor: str, form: str) -> None:
    version = pins.versions("upstream")[minor]
    settings = {
        "minor": {"minor": minor},
        "version": {"version": version},
        "both": {"minor": minor, "version": version},
        "without v": {"version": version.removeprefix("v")},
    }[form]
    graph = lab({**settings, "workloads": []})
    assert graph.cluster["version"] == version
    assert graph.commands["artifacts"].plain["environment"]["VERSION"] == version


def test_a_lab_that_names_none_has_the_default_minor(lab: Declare) -> None:
    assert lab({}).cluster["version"] == pins.versions("upstream")[DEFAULT_MINOR]


@pytest.mark.parametrize(
    "settings",
    [
        {"minor": "1.33"},
        {"minor": "1.99"},
        {"version": "1.33.2"},
        {"version": "1.35.99"},
        {"version": "v1.35.4+k3s1"},
        {"minor": "1.36", "version": "1.35.4"},
    ],
    ids=str,
)
def test_any_other_is_refused_with_what_there_is(settings: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"set-up builds upstream .*(1\.36|v1\.36\.\d+).* alone; take one of these"):
        parse(settings, "test")
