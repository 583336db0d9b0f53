"""What must hold of a lab on hosts that live on after it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.config.settings import SettingsError
from components.steps import scripts
from tests.graph.declared import SECRET, Declare, Graph, texts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILWBcIbHkD/3xHoyFAvxaHjN4bRMX6qDLXUstH+MqyoF"


@pytest.fixture
def hosts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of three hosts, whose key is there."""
    key = tmp_path_factory.mktemp("keys") / "key"
    key.write_text(f"{SECRET} key\n")
    return {
        "kind": "existing", "addresses": ["10.87.3.11", "10.87.3.12:2222", "10.87.3.13"], "user": "op", "key": str(key),
        "hostKeys": [f"10.87.3.11 {KEY}", f"[10.87.3.12]:2222 {KEY}", f"@cert-authority 10.87.3.* {KEY}"],
    }  # fmt: skip


@pytest.fixture
def graph(lab: Declare, hosts: dict[str, Any]) -> Graph:
    return lab({"hosts": hosts, "workloads": ["pods-8"]})


class TestLivingHosts:
    def test_nothing_goes_with_a_host_so_that_what_was_installed_is_removed(self, graph: Graph) -> None:
        assert {n for n in graph.commands if graph.deleted_with(n)} == set()
        for number in (1, 2, 3):
            assert "delete" in graph.commands[f"stage-host-{number}"].plain

    def test_a_host_is_given_back_after_what_is_on_it_is_removed(self, graph: Graph) -> None:
        for number in (1, 2, 3):
            # The engine deletes in the opposite order.
            assert f"host-{number}" in graph.after(f"stage-host-{number}")

    def test_no_host_is_taken_before_all_were_asked_and_found_alike(self, graph: Graph) -> None:
        asked = {"facts-host-1", "facts-host-2", "facts-host-3"}
        assert graph.directly_after("alike") == asked
        for number in (1, 2, 3):
            assert graph.after(f"host-{number}") >= {*asked, "alike"}

    def test_each_is_told_the_keys_that_are_about_it_and_no_others(self, graph: Graph) -> None:
        authority = f"@cert-authority 10.87.3.* {KEY}"
        told = {n: graph.commands[f"facts-host-{n}"].plain["stdin"].splitlines() for n in (1, 2, 3)}
        assert told == {
            1: [f"10.87.3.11 {KEY}", authority],
            2: [f"[10.87.3.12]:2222 {KEY}", authority],
            3: [authority],
        }

    def test_another_address_is_another_host(self, lab: Declare, hosts: dict[str, Any]) -> None:
        before = lab({"hosts": hosts})
        moved = {
            **hosts, "addresses": ["10.87.3.11", "10.87.3.14", "10.87.3.13"],
            "hostKeys": [f"10.87.3.11,10.87.3.13,10.87.3.14 {KEY}"],
        }  # fmt: skip
        after = lab({"hosts": moved})
        changed = {
            n for n in before.commands if before.commands[n].plain["triggers"] != after.commands[n].plain["triggers"]
        }
        assert {"facts-host-2", "host-2"} <= changed
        assert not {n for n in changed if n.endswith(("host-1", "host-3"))}

    def test_a_changed_minimum_asks_again_and_installs_nothing_again(self, lab: Declare, hosts: dict[str, Any]) -> None:
        before, after = lab({"hosts": hosts}), lab({"hosts": {**hosts, "memoryMib": 1536}})
        for name, command in before.commands.items():
            assert command.plain["triggers"] == after.commands[name].plain["triggers"], name

    def test_what_is_taken_off_a_host_is_all_put_on_it_again(
        self, lab: Declare, hosts: dict[str, Any], project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = lab({"hosts": hosts})
        components = project / "components"
        shutil.copytree(scripts.COMPONENTS, components)
        with (components / "clusters/upstream/scripts/names.sh").open("a") as file:
            file.write("# changed\n")
        monkeypatch.setattr(scripts, "COMPONENTS", components)
        after = lab({"hosts": hosts})
        changed = {
            n for n in before.commands if before.commands[n].plain["triggers"] != after.commands[n].plain["triggers"]
        }
        installed = {f"{step}-host-{n}" for step in ("stage", "node") for n in (1, 2, 3)}
        assert changed >= {*installed, "controller", "verify"}

    def test_a_controller_made_anew_is_joined_by_all_again(self, lab: Declare, hosts: dict[str, Any]) -> None:
        before, after = lab({"hosts": hosts}), lab({"hosts": hosts}, identities={"host-1": "another machine"})
        changed = {
            n for n in before.commands if before.commands[n].plain["triggers"] != after.commands[n].plain["triggers"]
        }
        assert changed >= {"stage-host-1", "controller", "node-host-1", "node-host-2", "node-host-3"}
        assert not changed & {"stage-host-2", "stage-host-3"}


class TestConnections:
    def test_each_host_is_held_to_the_lines_that_are_about_it(self, graph: Graph) -> None:
        given = {n: c.plain for n, c in graph.commands.items() if n.startswith("facts-")}
        assert {n: c["environment"]["ADDRESS"].rpartition(":")[2] for n, c in given.items()} == {
            "facts-host-1": "22", "facts-host-2": "2222", "facts-host-3": "22",
        }  # fmt: skip
        lines = {n: len(c["stdin"].splitlines()) for n, c in given.items()}
        assert lines == {"facts-host-1": 2, "facts-host-2": 2, "facts-host-3": 1}, "its own, and the authority's"
        assert given["facts-host-3"]["stdin"].startswith("@cert-authority ")

    def test_the_private_key_is_in_no_input(self, graph: Graph) -> None:
        for name, resource in graph.resources.items():
            assert not [t for t in texts(resource.shown) if SECRET in t], name
            assert f"{SECRET} key" not in str(resource.plain), name

    def test_a_preview_needs_no_key(self, lab: Declare, hosts: dict[str, Any]) -> None:
        Path(hosts["key"]).unlink()
        assert "verify" in lab({"hosts": hosts}, preview=True).commands


class TestResults:
    def test_results_carry_what_the_hosts_are_and_whether_they_are_alike(self, graph: Graph) -> None:
        given = graph.commands["access"].plain["stdin"]
        for word in (
            '"cpus": 4',
            '"memoryMib": 3900',
            '"alike": false',
            '"differences": ["kernel: host-1 a, host-2 b"]',
        ):
            assert word in given, word

    def test_too_few_addresses_are_refused_in_a_preview_too(self, lab: Declare, hosts: dict[str, Any]) -> None:
        with pytest.raises(
            SettingsError, match=r"hosts\.addresses names 3, and controllers \(1\) and workers \(3\) are 4"
        ):
            lab({"hosts": hosts, "workers": 3}, preview=True)
