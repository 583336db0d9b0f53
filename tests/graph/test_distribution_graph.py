"""What must hold of every distribution that is installed from artifacts, on any shape of lab."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from components.catalog import pins
from components.clusters.installation_phases import InstalledCluster
from components.config import discovery
from components.config.lab_file import parse
from components.config.settings import SettingsError
from components.places import PROJECT
from tests.graph.declared import SECRET, Declare, Graph, texts
from tests.graph.test_lab_graph import LOCAL, REMOTE, host_of

INSTALLED = [
    name
    for name in discovery.distributions()
    if isinstance(component := discovery.distribution(name).component, type) and issubclass(component, InstalledCluster)
]
NSPAWN = {"hosts": {"kind": "nspawn"}, "workloads": ["pods-8"]}
# The form in which each has hosts that join.
JOINING: dict[str, dict[str, Any]] = {"microshift": {"topology": "multinode"}}


def shape(distribution: str) -> dict[str, Any]:
    """One controller, two workers."""
    return {**NSPAWN, "distribution": distribution, **JOINING.get(distribution, {})}


@pytest.fixture(params=INSTALLED)
def distribution(request: pytest.FixtureRequest) -> str:
    """Each in turn."""
    return str(request.param)


@pytest.fixture
def graph(lab: Declare, distribution: str) -> Graph:
    """One controller, two workers."""
    return lab(shape(distribution))


def changed(before: Graph, after: Graph) -> set[str]:
    """Commands whose inputs differ, or that only one of them has."""
    names = before.commands.keys() | after.commands.keys()

    def inputs(graph: Graph, name: str) -> Any:
        return graph.commands[name].inputs if name in graph.commands else None

    return {n for n in names if inputs(before, n) != inputs(after, n)}


class TestFolder:
    """What a copied folder must have changed, before a host is the first to notice."""

    SCRIPTS = ("prepare.sh", "init.sh", "token.sh", "node.sh", "verify.sh", "running.sh", "upgrade-host.sh", "reset.sh")

    def test_its_own_scripts_run(self, graph: Graph, distribution: str) -> None:
        step = graph.commands["init"].plain["environment"]["STEP"]
        assert re.search(rf"/{distribution}-[0-9a-f]{{12}}/", step)
        folder = PROJECT / "components/clusters" / distribution / "scripts"
        assert [name for name in self.SCRIPTS if not os.access(folder / name, os.X_OK)] == []

    def test_its_scripts_name_artifacts_that_it_has(self, distribution: str) -> None:
        folder = PROJECT / "components/clusters" / distribution / "scripts"
        text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sh")))
        named = set(re.findall(r"(?:put_staged|\$\(artifact) ([a-z0-9-]+)", text))
        assert named <= set(pins.artifact_names(distribution))


class TestOrder:
    def test_nothing_is_staged_before_files_are_checked_and_hosts_validated(self, graph: Graph) -> None:
        for name in graph.steps("stage-"):
            assert {"artifacts", "validate", name.removeprefix("stage-")} <= graph.after(name)

    def test_hosts_are_staged_side_by_side(self, graph: Graph) -> None:
        for name in graph.steps("stage-"):
            assert not {n for n in graph.after(name) if n.startswith("stage-")}

    def test_joins_wait_for_the_first_controller(self, graph: Graph) -> None:
        joins = set(graph.steps("join-"))
        assert len(joins) == 2
        for name in joins:
            assert {"init", name.replace("join-", "stage-")} <= graph.after(name)

    def test_the_last_step_has_all_joins_behind_it(self, graph: Graph) -> None:
        assert graph.after("verify") >= {"upgrade", "init", "join-host-2", "join-host-3"}
        assert graph.after("access") >= {"verify"}


class TestState:
    def test_a_command_is_one_short_line_that_names_a_script(self, graph: Graph, project: Path) -> None:
        for name, command in graph.commands.items():
            for key in {"create", "update", "delete"} & command.inputs.keys():
                line = command.plain[key]
                assert (REMOTE if command.is_remote else LOCAL).fullmatch(line), f"{name}: {line}"
            step = project / command.plain["environment"]["STEP"]
            assert os.access(step, os.X_OK), f"{name}: {step}"
            if command.is_remote:
                path = step.parent / command.plain["create"].split()[3]
                assert os.access(path, os.X_OK), f"{name}: {path}"

    def test_no_secret_is_in_plain_text_and_the_kubeconfig_is_one(self, graph: Graph) -> None:
        for name, resource in graph.resources.items():
            assert not [t for t in texts(resource.shown) if SECRET in t], name
        assert graph.secret_outputs["kubeconfig"] is True
        assert any(SECRET in t for t in texts(graph.commands["access"].plain))

    def test_no_token_is_in_any_input(self, graph: Graph) -> None:
        """Tokens go from host to host: what state holds can't join."""
        for name in graph.steps("join-"):
            lines = graph.commands[name].plain["stdin"].splitlines()
            assert lines
            assert all(re.fullmatch(r"[A-Z0-9_]+=[A-Za-z0-9._:/,@=+-]*", line) for line in lines), name
            assert not [line for line in lines if "TOKEN" in line]

    def test_what_is_on_a_host_goes_with_it(self, graph: Graph) -> None:
        for name, command in graph.commands.items():
            host = host_of(command)
            assert (graph.deleted_with(name) or None) == (host if host != name else None), name
            assert command.request.deleteBeforeReplace, name

    def test_a_preview_declares_the_same(self, lab: Declare, distribution: str, project: Path) -> None:
        preview = lab(shape(distribution), preview=True)
        assert list(project.iterdir()) == []
        assert preview.resources.keys() == lab(shape(distribution)).resources.keys()


class TestChanges:
    def test_a_host_made_anew_is_staged_and_joined_again_and_no_other(self, lab: Declare, distribution: str) -> None:
        settings = shape(distribution)
        before, after = lab(settings), lab(settings, identities={"host-2": "another-machine"})
        again = {n for n in changed(before, after) if not n.startswith("workload-")}
        assert again == {"validate", "stage-host-2", "join-host-2"}

    def test_with_the_controller_made_anew_every_host_is_taken_back_and_joins_it(
        self, lab: Declare, distribution: str
    ) -> None:
        settings = shape(distribution)
        before, after = lab(settings), lab(settings, identities={"host-1": "another-machine"})
        again = {n for n in changed(before, after) if not n.startswith("workload-")}
        joined = {f"{step}-host-{number}" for step in ("stage", "join") for number in (2, 3)}
        assert again == {"validate", "stage-host-1", "supply", "init", "verify", *joined}

    def test_another_number_of_controllers_is_another_cluster(self, lab: Declare, distribution: str) -> None:
        if distribution == "microshift":
            pytest.skip("it has one")
        before, after = lab(shape(distribution)), lab({**shape(distribution), "controllers": 3, "workers": 1})
        again = {n for n in changed(before, after) if re.match(r"stage-|init|join-", n)}
        assert again == {"init", *(f"stage-host-{n}" for n in (1, 2, 3, 4)), *(f"join-host-{n}" for n in (2, 3, 4))}
        for name in ("init", "stage-host-1", "join-host-2"):
            assert before.commands[name].plain["triggers"] != after.commands[name].plain["triggers"]

    def test_hosts_are_made_anew_for_another_distribution(self, lab: Declare, distribution: str) -> None:
        before, after = lab(NSPAWN), lab(shape(distribution))
        for number in (1, 2, 3):
            triggers = [graph.commands[f"host-{number}"].plain["triggers"] for graph in (before, after)]
            assert triggers[0] != triggers[1]

    def test_one_more_worker_changes_nothing_on_hosts_that_are_there(self, lab: Declare, distribution: str) -> None:
        settings = shape(distribution)
        before, after = lab(settings), lab({**settings, "workers": 3})
        ours = {n for n in changed(before, after) if re.match(r"stage-|init|join-", n)}
        assert ours == {"stage-host-4", "join-host-4"}

    def test_a_changed_version_fetches_upgrades_and_measures_again_and_installs_nothing(
        self, lab: Declare, distribution: str
    ) -> None:
        settings = shape(distribution)
        before = lab(settings)
        version = before.resources["cluster"].name and str(before.cluster["version"])
        newer = re.sub(r"^(v?\d+\.\d+\.)(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}", version)
        # MicroK8s's is a channel's newest unless it is named.
        newer = newer if newer != version else f"{version}.9"
        after = lab({**settings, "version": newer})
        assert changed(before, after) == {"artifacts", "supply", "upgrade", "access", "workload-pods-8"}
        assert before.commands["upgrade"].plain["triggers"] != after.commands["upgrade"].plain["triggers"]


class TestArtifacts:
    @pytest.fixture
    def name(self, distribution: str) -> str:
        """An artifact of the distribution."""
        return pins.artifact_names(distribution)[0]

    def test_a_local_file_replaces_the_download_and_is_held_to_its_content(
        self, lab: Declare, distribution: str, name: str, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("components.catalog.artifacts.PROJECT", project)
        # A pinned digest would refuse the file.
        known = {name: pin.model_copy(update={"digests": {}}) for name, pin in pins._all().items()}
        monkeypatch.setattr(pins, "_all", lambda: known)
        seen = []
        for content in ("one", "two"):
            (project / "file").write_text(content)
            declared = lab({**shape(distribution), "artifacts": {name: "file"}})
            request = json.loads(declared.commands["artifacts"].plain["stdin"])
            entry = next(f for f in request["files"] if f["name"] == name)
            assert (entry["source"], entry["proof"]) == ("file", "local")
            # To the first controller before it starts, to hosts of a cluster as an upgrade.
            assert "supply" in declared.directly_after("init")
            seen.append([declared.commands[step].plain["triggers"] for step in ("supply", "upgrade")])
        assert seen[0][0] != seen[1][0]
        assert seen[0][1] != seen[1][1]

    def test_a_file_that_is_not_there_is_refused_before_anything_is_declared(
        self, lab: Declare, distribution: str, name: str
    ) -> None:
        with pytest.raises(SettingsError, match=rf"artifacts\.{name}: there is no /nowhere/file\."):
            lab({**shape(distribution), "artifacts": {name: "/nowhere/file"}})

    def test_another_content_than_the_digest_says_is_refused(
        self, lab: Declare, distribution: str, name: str, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("damaged")
        given = {"source": str(tmp_path / "file"), "sha256": "0" * 64}
        with pytest.raises(SettingsError, match="it is damaged or another file"):
            lab({**shape(distribution), "artifacts": {name: given}})

    def test_an_artifact_that_it_does_not_have_is_refused(self, lab: Declare, distribution: str) -> None:
        with pytest.raises(SettingsError, match="has no such artifact"):
            lab({**shape(distribution), "artifacts": {"nothing": "file"}})


class TestVersions:
    def test_a_minor_that_nobody_has_pinned_is_refused(self, distribution: str) -> None:
        with pytest.raises(SettingsError, match=r"minor is 1\.9"):
            parse({"distribution": distribution, "minor": "1.9"}, "x")
