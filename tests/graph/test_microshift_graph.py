"""What is MicroShift's own in the graph: where it is installed, and what a subscription's secrets and end must be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
import yaml

from components.clusters.kubeconfig import merged
from components.clusters.microshift.component import SECRETS
from components.config.lab_file import parse
from components.config.settings import SettingsError
from tests.graph.declared import SECRET, Declare, Graph, texts

MICROSHIFT: dict[str, Any] = {"distribution": "microshift", "hosts": {"kind": "nspawn"}, "workloads": []}
RHEL = {**MICROSHIFT, "flavour": "rhel"}
VALUES = {name: f"{SECRET} {name}" for name in SECRETS}


@pytest.fixture
def subscription() -> Iterator[None]:
    """The stack's configuration has a subscription's secrets."""
    keys = {f"microshift:{name}": value for name, value in VALUES.items()}
    pulumi.runtime.set_all_config(keys, list(keys))
    yield
    pulumi.runtime.set_all_config({})


def one(server: str) -> str:
    """A kubeconfig as MicroShift writes it."""
    cluster = {"name": "microshift", "cluster": {"server": server}}
    user = {"name": "user", "user": {"client-key-data": f"key of {server}"}}
    return yaml.safe_dump({"apiVersion": "v1", "clusters": [cluster], "users": [user], "contexts": []})


class TestTopology:
    def test_a_single_lab_touches_its_first_host_alone(self, lab: Declare) -> None:
        graph = lab(MICROSHIFT)
        ours = {n for n in graph.commands if n.startswith(("stage-", "join-", "init"))}
        assert ours == {"stage-host-1", "init"}
        assert graph.commands["upgrade"].plain["environment"]["HOSTS"] == "host-1"
        assert graph.cluster["nodes"] == ["host-1"]
        assert {"host-1", "host-2", "host-3"} <= graph.commands.keys()

    def test_a_fleet_is_a_cluster_a_host(self, lab: Declare) -> None:
        whole = one("a")
        printed = dict.fromkeys(("verify", "join-host-2", "join-host-3"), whole)
        graph = lab({**MICROSHIFT, "topology": "fleet"}, identities=printed)
        assert {"stage-host-3", "join-host-2", "join-host-3"} <= graph.commands.keys()
        assert graph.cluster["nodes"] == ["host-1", "host-2", "host-3"]
        assert "join-host-2" not in graph.after("join-host-3")

    def test_every_host_of_a_fleet_runs_pods_and_is_given_images(self, lab: Declare) -> None:
        printed = dict.fromkeys(("verify", "join-host-2", "join-host-3"), one("a"))
        steps = lab({**MICROSHIFT, "topology": "fleet"}, identities=printed).commands
        told = {n: c.plain["environment"]["RUNS_PODS"] for n, c in steps.items() if n.startswith(("stage-", "join-"))}
        assert told == dict.fromkeys(
            ("stage-host-1", "stage-host-2", "stage-host-3", "join-host-2", "join-host-3"), "true"
        )
        assert steps["upgrade"].plain["environment"]["NODES"] == "host-1 host-2 host-3"

    def test_of_a_fleet_one_host_made_anew_leaves_the_others_their_clusters(self, lab: Declare) -> None:
        printed = dict.fromkeys(("verify", "join-host-2", "join-host-3"), one("a"))
        before, after = (
            lab({**MICROSHIFT, "topology": "fleet"}, identities={**printed, **more})
            for more in ({}, {"host-1": "another-machine"})
        )
        changed = {n for n in before.commands if before.commands[n].inputs != after.commands[n].inputs}
        assert changed == {"validate", "stage-host-1", "supply", "init", "verify"}

    def test_a_fleets_load_is_spread_over_its_contexts_and_no_other_labs(self, lab: Declare) -> None:
        printed = dict.fromkeys(("verify", "join-host-2", "join-host-3"), one("a"))
        measured = {**MICROSHIFT, "workloads": ["pods-8"]}
        fleet = lab({**measured, "topology": "fleet"}, identities=printed).commands["workload-pods-8"]
        assert fleet.plain["environment"]["CONTEXTS"] == "host-1 host-2 host-3"
        assert "CONTEXTS" not in lab(measured).commands["workload-pods-8"].plain["environment"]

    def test_a_fleets_kubeconfig_has_a_context_a_host_and_the_first_is_current(self) -> None:
        whole = yaml.safe_load(merged({"host-1": one("a"), "host-2": f'{{"step": "node"}}\n{one("b")}'}))
        assert whole["current-context"] == "host-1"
        assert [c["name"] for c in whole["contexts"]] == ["host-1", "host-2"]
        assert [c["cluster"]["server"] for c in whole["clusters"]] == ["a", "b"]
        assert whole["contexts"][1]["context"] == {"cluster": "host-2", "user": "host-2"}


class TestSubscription:
    @pytest.fixture
    def graph(self, request: pytest.FixtureRequest, lab: Declare) -> Graph:
        """A lab of Red Hat's flavour."""
        request.getfixturevalue("subscription")
        return lab(RHEL)

    def test_it_is_taken_after_staging_and_before_anything_is_installed(self, graph: Graph) -> None:
        assert "stage-host-1" in graph.after("subscribe-host-1")
        assert "subscribe-host-1" in graph.directly_after("supply")
        assert "supply" in graph.directly_after("init")

    def test_it_is_given_back_even_when_its_host_goes(self, graph: Graph) -> None:
        """``deleted_with`` would skip it, and Red Hat would go on counting the host."""
        assert graph.deleted_with("subscribe-host-1") is None
        assert graph.commands["subscribe-host-1"].plain["delete"] == '"$STEP" delete host-1 subscribe.sh'
        assert "host-1" in graph.after("subscribe-host-1")
        assert graph.deleted_with("stage-host-1") == "host-1"

    def test_its_secrets_come_by_standard_input_alone_and_are_secrets_of_the_state(self, graph: Graph) -> None:
        step = graph.commands["subscribe-host-1"]
        assert "stdin" in step.secret_inputs
        for value in VALUES.values():
            for name, resource in graph.resources.items():
                assert not [t for t in texts(resource.shown) if value in t], name
        others = {key: value for key, value in step.plain.items() if key != "stdin"}
        assert not [t for t in texts(others) if any(v in t for v in VALUES.values())]
        assert json.loads(step.plain["stdin"].partition("---\n")[2]) == VALUES

    def test_the_repositories_are_those_of_the_version(self, graph: Graph) -> None:
        first = graph.commands["subscribe-host-1"].plain["stdin"].splitlines()[0]
        assert first == "REPOSITORIES=rhocp-4.22-for-rhel-9-x86_64-rpms,fast-datapath-for-rhel-9-x86_64-rpms"

    def test_nothing_is_downloaded_for_it(self, graph: Graph) -> None:
        assert json.loads(graph.commands["artifacts"].plain["stdin"])["files"] == []

    def test_no_other_flavour_has_one(self, lab: Declare, graph: Graph) -> None:
        assert graph.steps("subscribe-")
        assert not [n for n in lab(MICROSHIFT).commands if n.startswith("subscribe")]

    def test_without_its_secrets_it_is_refused_by_name_with_how_to_set_them(self, lab: Declare) -> None:
        with pytest.raises(
            SettingsError, match=r"microshift:organization is not set.*--secret microshift:organization"
        ):
            lab(RHEL)


class TestSettings:
    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"controllers": 3}, "controllers is 3, and MicroShift has no control plane of several hosts"),
            ({"controllerRunsWorkloads": False}, "controller and worker in one"),
            ({"flavour": "rhel", "package": "deb"}, "flavour rhel takes RPMs"),
            ({"minor": "1.36"}, "has microshift for 1.34, 1.35 alone"),
        ],
    )
    def test_what_microshift_is_not_is_refused(self, more: dict[str, Any], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            parse({**MICROSHIFT, **more}, "x")

    @pytest.mark.parametrize(
        ("more", "artifact"),
        [({}, "microshift-rpms-x86_64.tgz"), ({"package": "deb"}, "microshift-debs-x86_64.tgz")],
    )
    def test_the_package_decides_what_is_downloaded(self, lab: Declare, more: dict[str, Any], artifact: str) -> None:
        (file,) = json.loads(lab({**MICROSHIFT, **more}).commands["artifacts"].plain["stdin"])["files"]
        assert file["source"].endswith(f"/{artifact}")
        assert file["proof"] == ""
