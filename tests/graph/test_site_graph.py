"""A lab whose place has a proxy, an authority or mirrors: hosts have them before anything is installed, and nothing else changes."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from components.config import discovery
from components.config.settings import SettingsError
from tests.graph.declared import Declare, Graph, texts

SITE = {"registries": {"docker.io": "https://mirror.example:5000"}}


def triggers(graph: Any) -> dict[str, Any]:
    return {name: r.plain["triggers"] for name, r in graph.commands.items() if "triggers" in r.plain}


def contents(archive: str) -> dict[str, str]:
    """Files that a host gets, by path below ``/``."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(archive))) as tar:
        return {entry.name: file.read().decode() for entry in tar if (file := tar.extractfile(entry)) is not None}


def test_hosts_have_it_before_anything_is_installed(lab: Declare) -> None:
    graph = lab(SITE)
    for number in (1, 2, 3):
        assert f"site-host-{number}" in graph.after(f"stage-host-{number}")
        assert graph.deleted_with(f"site-host-{number}") == f"host-{number}"


def test_a_standing_lab_that_is_told_installs_nothing_again(lab: Declare) -> None:
    before, after = triggers(lab()), triggers(lab(SITE))
    assert set(after) - set(before) == {"site-host-1", "site-host-2", "site-host-3"}
    assert {name: after[name] for name in before} == before


def changed(first: Graph, second: Graph) -> set[str]:
    """Commands that run again in their place, when nothing is replaced."""
    assert triggers(first) == triggers(second)
    return {name for name, command in first.commands.items() if command.plain != second.commands[name].plain}


def test_other_mirrors_run_that_step_again_in_its_place_and_no_other(lab: Declare) -> None:
    """A replacement would also replace everything installed after it, and reset existing hosts."""
    found = changed(lab(SITE), lab({"registries": {"*": "https://mirror.example:5000"}}))
    assert found == {"site-host-1", "site-host-2", "site-host-3"}


def test_a_lab_without_such_settings_has_no_such_step(lab: Declare) -> None:
    assert len(lab(SITE).steps("site")) == 3
    assert not [name for name in lab().commands if name.startswith("site")]


def test_an_authority_that_is_not_there_is_said_before_anything_is_declared(lab: Declare) -> None:
    with pytest.raises(SettingsError, match=r"ca: no/such\.pem: there is no such file"):
        lab({"ca": "no/such.pem"})


def test_what_a_distribution_cant_be_told_is_said_before_anything_is_declared(lab: Declare) -> None:
    with pytest.raises(SettingsError, match=r"registries: '\*' can't be told to microshift"):
        lab({"distribution": "microshift", "registries": {"*": "https://mirror.example:5000"}})


LOGIN = base64.b64encode(b"robot:canary-of-a-password").decode()


def with_logins(folder: Path, password: str = "canary-of-a-password") -> dict[str, Any]:
    login = base64.b64encode(f"robot:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {"mirror.example:5000": {"auth": login}}}))
    return {**SITE, "registriesAuth": str(folder / "config.json")}


@pytest.mark.parametrize("distribution", discovery.distributions())
def test_a_mirrors_login_is_a_secret_of_the_state_and_in_plain_text_nowhere(
    lab: Declare, tmp_path: Path, distribution: str
) -> None:
    graph = lab({**with_logins(tmp_path), "distribution": distribution})
    for number in (1, 2, 3):
        step = graph.commands[f"site-host-{number}"]
        assert "stdin" in step.secret_inputs
        assert contents(step.plain["stdin"])["etc/litelab/registries-auth.json"].count(LOGIN) == 1
    for name, resource in graph.resources.items():
        shown = "\n".join(texts(resource.shown))
        for secret in ("canary", LOGIN, graph.commands["site-host-1"].plain["stdin"]):
            assert secret not in shown, name
        assert "canary" not in "\n".join(texts(resource.plain.get("environment", {})))


def test_another_password_runs_that_step_again_and_no_other(lab: Declare, tmp_path: Path) -> None:
    found = changed(lab(with_logins(tmp_path)), lab(with_logins(tmp_path, "another")))
    assert found == {"site-host-1", "site-host-2", "site-host-3"}


def test_logins_make_no_secret_of_what_comes_after(lab: Declare, tmp_path: Path) -> None:
    def secrets(settings: dict[str, Any]) -> dict[str, set[str]]:
        commands = lab(settings).commands.items()
        return {name: command.secret_inputs for name, command in commands if not name.startswith("site")}

    assert secrets(with_logins(tmp_path)) == secrets(SITE)


def test_logins_that_are_in_no_file_are_said_before_anything_is_declared(lab: Declare) -> None:
    with pytest.raises(SettingsError, match=r"registriesAuth: no/such\.json: there is no such file"):
        lab({**SITE, "registriesAuth": "no/such.json"})
