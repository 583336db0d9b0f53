"""What must hold of every lab that the program declares, whatever its settings."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.benchmarks import workload_files
from components.steps import scripts
from tests.graph.declared import SECRET, STACK, UNKNOWN, Declare, Graph, Resource, texts

SHAPES: list[dict[str, Any]] = [
    {},
    {"workloads": []},
    {"workers": 0, "controllerRunsWorkloads": True, "workloads": []},
    {"workers": 5, "controllerRunsWorkloads": True, "hosts": {"internet": True, "subnet": "10.87.3.0/24"}},
    {"controllers": 3, "workers": 1, "workloads": []},
    {"proxy": "http://proxy.example:3128", "registries": {"docker.io": "https://mirror.example:5000"}, "workloads": []},
]
IDS = ["default", "nothing-measured", "single-host", "six-hosts", "three-controllers", "mirror"]

LOCAL = re.compile(r'"\$STEP" (create|delete)( [A-Za-z0-9][A-Za-z0-9._/-]*)*')
REMOTE = re.compile(r'"\$STEP" (create|delete) (host-\d+) ([a-z-]+\.sh)')


@pytest.fixture(params=SHAPES, ids=IDS)
def any_graph(request: pytest.FixtureRequest, lab: Declare) -> Graph:
    """A lab of each shape in turn."""
    return lab(request.param)


def host_of(command: Resource) -> str | None:
    """Which host a command works on, by its name and arguments."""
    if command.is_remote:
        return command.host
    found = re.search(r"\bhost-\d+", command.name)
    return found.group() if found and not command.name.startswith("certificates-") else None


class TestPlaces:
    def test_each_command_belongs_to_the_component_that_it_is_part_of(self, any_graph: Graph) -> None:
        parents = {
            "litelab:hosts:NspawnHosts": r"keys|network|host-\d+",
            "litelab:clusters:UpstreamCluster": r"ca|artifacts|certificates-host-\d+|stage-host-\d+|controller(-host-\d+)?|node-host-\d+|upgrade|verify",
            "litelab:benchmarks:Benchmarks": r"access|workload-.*",
            "litelab:site:Site": r"site-host-\d+",
        }
        for name in any_graph.commands:
            assert re.fullmatch(parents[any_graph.parent_type(name)], name), name

    def test_the_three_parts_belong_to_one_lab_named_as_its_stack(self, graph: Graph) -> None:
        assert {graph.parent_type(part) for part in ("hosts", "cluster", "benchmarks")} == {"litelab:lab:Lab"}
        assert graph.resources[STACK].type == "litelab:lab:Lab"

    def test_nothing_but_commands_and_our_components_is_declared(self, any_graph: Graph) -> None:
        types = {r.type for r in any_graph.resources.values()}
        assert types <= {
            "pulumi:pulumi:Stack",
            "litelab:lab:Lab",
            "litelab:hosts:NspawnHosts",
            "litelab:clusters:UpstreamCluster",
            "litelab:benchmarks:Benchmarks",
            "litelab:site:Site",
            "command:local:Command",
            "command:remote:Command",
        }

    def test_there_is_a_host_for_the_controller_and_each_worker(self, any_graph: Graph) -> None:
        hosts = [n for n in any_graph.commands if re.fullmatch(r"host-\d+", n)]
        assert sorted(hosts) == sorted(n.removeprefix("node-") for n in any_graph.commands if n.startswith("node-"))
        assert hosts


class TestAnotherWorker:
    def test_changes_nothing_of_the_hosts_that_stand(self, lab: Declare) -> None:
        two, three = lab({"workers": 2}), lab({"workers": 3})
        parts = ("", "stage-", "node-", "certificates-")
        standing = {"keys", "network", "ca", "controller", *(f"{p}host-{n}" for p in parts for n in (1, 2, 3))}
        assert standing <= set(two.commands)
        assert [n for n in standing if two.commands[n].plain != three.commands[n].plain] == []
        assert "host-4" in three.commands


class TestReplacement:
    """A replacement's new ``create`` must not meet the old ``delete`` after it, which would remove what was just made."""

    def test_every_command_is_deleted_before_it_is_replaced(self, any_graph: Graph) -> None:
        assert [n for n, r in any_graph.commands.items() if not r.request.deleteBeforeReplace] == []

    def test_what_is_on_a_host_goes_with_it(self, any_graph: Graph) -> None:
        for name, command in any_graph.commands.items():
            host = host_of(command)
            expected = host if host != name else None
            assert (any_graph.deleted_with(name) or None) == expected, name

    def test_a_host_made_anew_is_installed_again(self, lab: Declare) -> None:
        before, after = lab(), lab(identities={"host-2": "another-machine"})
        changed = {
            n for n in before.commands if before.commands[n].plain["triggers"] != after.commands[n].plain["triggers"]
        }
        assert {"stage-host-2", "node-host-2"} <= changed
        assert not {n for n in changed if "host-1" in n or "host-3" in n}

    def test_results_of_a_machine_that_is_gone_do_not_stay(self, lab: Declare) -> None:
        before, after = lab(), lab(identities={"host-2": "another-machine"})
        for name in before.steps("workload-"):
            assert before.commands[name].plain["triggers"] != after.commands[name].plain["triggers"], name

    def test_what_the_workload_runs_on_is_measured_again_when_it_changes(self, lab: Declare) -> None:
        before, after = lab(), lab({"controllerRunsWorkloads": True})
        assert (
            before.commands["workload-pods-8"].plain["triggers"] != after.commands["workload-pods-8"].plain["triggers"]
        )

    def test_a_changed_workload_runs_that_one_alone(self, lab: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
        before = lab()
        digest = workload_files.digest
        monkeypatch.setattr(workload_files, "digest", lambda w: "changed" if w == "deployments-40" else digest(w))
        after = lab()
        assert {n for n in before.commands if before.commands[n].inputs != after.commands[n].inputs} == {
            "workload-deployments-40"
        }

    def test_changed_scripts_run_their_own_part_again(
        self, lab: Declare, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = lab()
        components = project / "components"
        shutil.copytree(scripts.COMPONENTS, components)
        with (components / "benchmarks/scripts/run.sh").open("a") as file:
            file.write("# changed\n")
        monkeypatch.setattr(scripts, "COMPONENTS", components)
        after = lab()
        changed = {n for n in before.commands if before.commands[n].inputs != after.commands[n].inputs}
        assert changed == {n for n in before.commands if n == "access" or n.startswith("workload-")}

    def test_a_new_root_image_makes_the_hosts_anew(
        self, lab: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        triggers = []
        for image in ("bookworm-1111", "bookworm-2222"):
            cache = tmp_path / image
            (cache / "rootfs" / image).mkdir(parents=True)
            (cache / "rootfs" / "current").symlink_to(image)
            monkeypatch.setenv("LITELAB_CACHE", str(cache))
            triggers.append(lab().commands["host-1"].plain["triggers"])
        assert triggers[0] != triggers[1]


class TestWhatStateHolds:
    def test_a_command_is_one_short_line_that_names_a_script(self, any_graph: Graph) -> None:
        for name, command in any_graph.commands.items():
            for key in {"create", "update", "delete"} & command.inputs.keys():
                line = command.plain[key]
                assert (REMOTE if command.is_remote else LOCAL).fullmatch(line), f"{name}: {line}"

    def test_no_input_holds_a_path_of_this_machine_or_more_than_one_line(self, any_graph: Graph, project: Path) -> None:
        places = [
            str(project),
            str(scripts.COMPONENTS.parent),
            str(Path.home()),
            os.environ.get("LITELAB_CACHE", "~"),
        ]
        for name, command in any_graph.commands.items():
            for text in texts({k: v for k, v in command.plain.items() if k != "stdin"}):
                assert not any(place in text for place in places if len(place) > 1), f"{name}: {text}"
                assert not text.startswith("/"), f"{name}: {text}"
                assert "\n" not in text, f"{name}: {text}"
                assert len(text) <= 120, f"{name}: {text}"

    def test_a_moved_checkout_and_cache_change_nothing(
        self, lab: Declare, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        for _ in range(2):
            folder = tmp_path_factory.mktemp("checkout")
            (folder / "rootfs" / "bookworm-1111").mkdir(parents=True)
            (folder / "rootfs" / "current").symlink_to("bookworm-1111")
            monkeypatch.setattr(scripts, "PROJECT", folder)
            monkeypatch.setenv("LITELAB_CACHE", str(folder))
            seen.append({n: dict(r.inputs) for n, r in lab().resources.items()})
        assert seen[0] == seen[1]

    def test_every_script_that_is_named_is_there_and_runs(self, any_graph: Graph, project: Path) -> None:
        for name, command in any_graph.commands.items():
            step = project / command.plain["environment"]["STEP"]
            assert os.access(step, os.X_OK), f"{name}: {step}"
            if command.is_remote:
                path = step.parent / command.plain["create"].split()[3]
                assert os.access(path, os.X_OK), f"{name}: {path}"

    def test_a_preview_publishes_nothing_and_declares_the_same(self, lab: Declare, project: Path) -> None:
        preview = lab(preview=True)
        assert list(project.iterdir()) == []
        up = lab()
        assert preview.resources.keys() == up.resources.keys()
        for name, planned in preview.resources.items():
            made = up.resources[name]
            assert (planned.urn, planned.parent, planned.request.deletedWith) == (
                made.urn,
                made.parent,
                made.request.deletedWith,
            )
            assert set(planned.request.dependencies) == set(made.request.dependencies), name
            for key, value in planned.plain.items():
                if not any(UNKNOWN in text for text in texts({key: value})):
                    assert value == made.plain[key], f"{name}.{key}"


class TestOrder:
    def test_workloads_are_a_strict_chain_in_the_given_order(self, lab: Declare) -> None:
        order = ["pods-24", "pods-8", "deployments-40"]
        graph = lab({"workloads": order})
        names = [f"workload-{w}" for w in order]
        for number, name in enumerate(names):
            assert {n for n in graph.after(name) if n.startswith("workload-")} == set(names[:number])
        assert graph.directly_after(names[2]) >= {names[1]}

    def test_nothing_is_measured_before_the_cluster_is_verified(self, graph: Graph) -> None:
        for name in graph.steps("workload-"):
            assert {"verify", "access"} <= graph.after(name)

    def test_nodes_wait_for_the_controller_and_never_for_each_other(self, any_graph: Graph) -> None:
        nodes = set(any_graph.steps("node-"))
        for name in nodes:
            before = any_graph.after(name)
            assert {"controller", name.replace("node-", "stage-"), name.replace("node-", "")} <= before
            assert not before & (nodes - {name})

    def test_what_is_verified_is_every_node(self, any_graph: Graph) -> None:
        nodes = set(any_graph.steps("node-"))
        assert any_graph.after("verify") >= nodes
        assert (
            f"NODES={','.join(sorted(n.removeprefix('node-') for n in nodes))}\n"
            in any_graph.commands["verify"].plain["stdin"]
        )

    def test_hosts_are_made_and_staged_side_by_side(self, any_graph: Graph) -> None:
        hosts = {n for n in any_graph.commands if re.fullmatch(r"host-\d+", n)}
        for host in hosts:
            assert any_graph.after(host) == {"keys", "network"}
            others = {f"{kind}{h}" for h in hosts - {host} for kind in ("", "stage-", "node-", "certificates-")}
            assert not any_graph.after(f"stage-{host}") & others

    def test_certificates_wait_for_no_host(self, any_graph: Graph) -> None:
        for name in any_graph.steps("certificates-"):
            assert any_graph.after(name) <= {"ca", "network", "keys"}


class TestSeveralControllers:
    CONTROLLERS = ("controller", "controller-host-2", "controller-host-3")

    @pytest.fixture
    def graph(self, lab: Declare) -> Graph:
        return lab({"controllers": 3, "workers": 1, "workloads": []})

    def test_they_start_side_by_side_when_all_are_staged(self, graph: Graph) -> None:
        assert {n for n in graph.commands if n.startswith("controller")} == set(self.CONTROLLERS)
        for name in self.CONTROLLERS:
            assert graph.after(name) >= {"stage-host-1", "stage-host-2", "stage-host-3"}
            assert not graph.after(name) & set(self.CONTROLLERS)

    def test_each_is_told_all_members_of_the_datastore(self, graph: Graph) -> None:
        members = {
            re.findall(r"^MEMBERS=(.*)$", graph.commands[n].plain["stdin"], re.MULTILINE)[0] for n in self.CONTROLLERS
        }
        assert len(members) == 1
        assert re.fullmatch(r"host-1=[\d.]+,host-2=[\d.]+,host-3=[\d.]+", members.pop())

    def test_nodes_wait_for_all_and_are_told_their_addresses(self, graph: Graph) -> None:
        for name in graph.steps("node-"):
            assert graph.after(name) >= set(self.CONTROLLERS)
            assert re.search(r"^CONTROLLERS=[\d.]+,[\d.]+,[\d.]+$", graph.commands[name].plain["stdin"], re.MULTILINE)

    def test_one_that_stops_being_one_is_ended_on_its_host(self, graph: Graph) -> None:
        ends = {name: "delete" in graph.commands[name].plain for name in self.CONTROLLERS}
        assert ends == {"controller": False, "controller-host-2": True, "controller-host-3": True}

    def test_one_made_anew_makes_the_datastore_anew(self, lab: Declare) -> None:
        settings = {"controllers": 3, "workers": 1, "workloads": []}
        first, second = lab(settings), lab(settings, identities={"host-2": "another"})
        for name in self.CONTROLLERS:
            assert first.commands[name].plain["triggers"] != second.commands[name].plain["triggers"], name
            told = [g.commands[name].plain["stdin"].partition("ETCD_OF=")[2].split()[0] for g in (first, second)]
            assert told[0] != told[1]


class TestSecrets:
    def test_no_secret_is_in_plain_text_anywhere(self, any_graph: Graph) -> None:
        for name, resource in any_graph.resources.items():
            assert not [t for t in texts(resource.shown) if SECRET in t], name

    def test_the_secrets_are_where_they_are_needed(self, graph: Graph) -> None:
        """Else the test above could not fail."""
        holders = {n for n, r in graph.commands.items() if any(SECRET in t for t in texts(r.plain))}
        assert {"certificates-host-1", "controller", "node-host-3", "access"} <= holders

    def test_environments_and_command_lines_carry_no_secret_even_marked(self, any_graph: Graph) -> None:
        for name, command in any_graph.commands.items():
            exposed = {k: v for k, v in command.plain.items() if k != "stdin"}
            assert not [t for t in texts(exposed) if SECRET in t], name

    def test_output_that_is_a_secret_is_kept_as_one_and_off_the_console(self, any_graph: Graph) -> None:
        secret = {"keys", "ca", "access", *any_graph.steps("certificates-")}
        secret |= {n for n, r in any_graph.commands.items() if r.is_remote}
        for name in secret:
            command = any_graph.commands[name]
            assert {"stdout", "stderr"} <= set(command.request.additionalSecretOutputs), name
            assert command.plain["logging"] == "none", name

    def test_standard_output_is_never_logged_for_its_lines_may_be_long(self, any_graph: Graph) -> None:
        assert {r.plain["logging"] for r in any_graph.commands.values()} <= {"none", "stderr"}

    def test_no_output_of_a_step_is_put_into_the_next_ones_environment(self, any_graph: Graph) -> None:
        assert all(r.plain["addPreviousOutputInEnv"] is False for r in any_graph.commands.values())

    def test_the_kubeconfig_is_a_secret_and_the_results_are_not(self, graph: Graph) -> None:
        assert graph.secret_outputs == {"kubeconfig": True, "results": False}


class TestConnections:
    def test_nothing_dials_by_itself(self, any_graph: Graph) -> None:
        """Hosts are reached by the run folder's ssh configuration alone."""
        assert {r.type for r in any_graph.commands.values()} == {"command:local:Command"}
        assert not [n for n, r in any_graph.resources.items() if "connection" in r.inputs]

    def test_every_remote_step_waits_for_its_host(self, any_graph: Graph) -> None:
        remote = [r for r in any_graph.commands.values() if r.is_remote]
        assert remote
        for command in remote:
            assert command.host in any_graph.after(command.name), command.name

    def test_the_hosts_key_stays_in_its_own_step(self, any_graph: Graph) -> None:
        held = {n for n, r in any_graph.resources.items() if any(f"{SECRET} client" in t for t in texts(r.plain))}
        assert held == set()


class TestHosts:
    def test_hosts_differ_in_name_and_address_alone(self, graph: Graph) -> None:
        def comparable(name: str) -> dict[str, Any]:
            plain = dict(graph.commands[name].plain)
            plain["environment"] = {k: v for k, v in plain["environment"].items() if k != "ADDRESS"}
            return {k: str(v).replace(name, "HOST") for k, v in plain.items() if k != "stdin"}

        assert comparable("host-1") == comparable("host-2") == comparable("host-3")
        assert len({graph.commands[f"host-{n}"].plain["environment"]["ADDRESS"] for n in (1, 2, 3)}) == 3

    def test_settings_reach_every_host(self, lab: Declare) -> None:
        graph = lab({"hosts": {"cpus": 5, "memoryMib": 3000, "internet": True, "subnet": "10.87.3.0/24"}})
        for number in (1, 2, 3):
            environment = graph.commands[f"host-{number}"].plain["environment"]
            assert (environment["CPUS"], environment["MEMORY_MIB"], environment["INTERNET"]) == ("5", "3000", "true")
        assert graph.commands["network"].plain["environment"]["SUBNET"] == "10.87.3.0/24"

    @pytest.mark.parametrize(("runs", "taint"), [(True, "false"), (False, "true")])
    def test_the_controller_alone_is_tainted_and_only_when_it_runs_no_workloads(
        self, lab: Declare, runs: bool, taint: str
    ) -> None:
        graph = lab({"controllerRunsWorkloads": runs})
        told = {
            n: f"TAINT={taint if n == 'node-host-1' else 'false'}\n" for n in graph.commands if n.startswith("node-")
        }
        assert len(told) == 3
        for name, line in told.items():
            assert line in graph.commands[name].plain["stdin"], name
        # A kubelet taints at its first registration alone: the last step makes a standing node follow.
        assert f"TAINT={taint}\n" in graph.commands["verify"].plain["stdin"]


class TestStepInput:
    PLAIN = re.compile(r"[A-Z_]+=[A-Za-z0-9._:/,@=+-]*")
    """What ``read_input`` of the hosts' scripts accepts."""

    def test_every_line_before_the_files_is_one_that_the_scripts_accept(self, any_graph: Graph) -> None:
        for command in (r for r in any_graph.commands.values() if r.is_remote):
            head, mark, _ = command.plain["stdin"].partition("---\n")
            assert mark, command.name
            for line in head.splitlines():
                assert self.PLAIN.fullmatch(line), f"{command.name}: {line}"
