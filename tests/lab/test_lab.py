"""A real lab of upstream Kubernetes on nspawn hosts keeps what the project promises of it.

Tests share one lab and run in the order of this file: what disturbs it comes late, its end last.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes
import pytest
from kubernetes.stream import stream

from tests.lab import machine
from tests.lab.lab import PROJECT, LabStack, wait_for
from tests.lab.standing import CPUS, MEMORY_MIB, Standing, tree

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

PAUSE, BUSYBOX = "docker.io/litelab/pause:1", "docker.io/litelab/busybox:1"
WORKLOAD_PODS = {"pods-8": 8, "deployments-40": 40}
WARMUPS_AND_REPEATS = 2
SERVER = """
busybox mkdir -p /tmp/www; echo "$NODE" >/tmp/www/index.html; echo "serving on $NODE"; exec httpd -f -p 8080 -h /tmp/www
"""


@pytest.fixture(scope="class")
def namespace(lab: LabStack) -> Iterator[str]:
    """A namespace with a server pod on host-3 behind a service, and a client pod on host-2."""
    name = "test-lab"
    lab.kubectl("create", "namespace", name)
    wait_for(
        "the default service account", 30,
        lambda: lab.kubectl("-n", name, "get", "serviceaccount", "default", check=False).returncode == 0 or None,
    )  # fmt: skip
    objects = [
        pod("server", "host-3", SERVER),
        pod("client", "host-2", "exec sleep 3600"),
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]  # fmt: skip
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    lab.kubectl("-n", name, "apply", "-f", "-", stdin=manifest)
    lab.kubectl("-n", name, "wait", "pod", "--all", "--for=condition=Ready", "--timeout=90s", timeout=120)
    yield name
    lab.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PROJECT / "benchmarks/schema/result-v1.json").read_text())
    return found


@pytest.fixture
def listener() -> Iterator[int]:
    """A port that the operator listens on, on every address."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server.getsockname()[1]


class TestInterrupted:
    """Ctrl-C during ``up``, then ``up`` again."""

    def test_ctrl_c_ends_up_with_an_error_that_is_no_traceback(self, standing: Standing) -> None:
        assert standing.exit_code != 0
        assert "Traceback" not in standing.interrupted
        assert "panic" not in standing.interrupted

    def test_the_next_up_goes_on_with_the_hosts_that_were_there(self, standing: Standing) -> None:
        assert sorted(standing.machines_then) == ["host-1", "host-2", "host-3"]
        assert standing.lab.machine_ids() == standing.machines_then

    def test_nothing_is_left_pending_in_the_state(self, standing: Standing) -> None:
        state = json.loads(standing.lab.pulumi("stack", "export").stdout)
        assert not state["deployment"].get("pending_operations")


class TestHosts:
    FACTS = (
        "sha256sum </etc/os-release; uname -r; grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online; "
        "awk '/MemTotal/ { print $2 }' /proc/meminfo; dpkg-query -W | sha256sum; sha256sum </opt/litelab/upstream/list; "
        "sha256sum /etc/ssh/sshd_config; ps -o comm= 1; swapon --show | wc -l; stat -f -c %T /var/lib/containerd; id -un"
    )

    def test_hosts_are_alike_in_all_that_could_change_a_figure(self, lab: LabStack) -> None:
        facts = lab.on_each(self.FACTS)
        assert len(facts) == 3
        assert len(facts["host-1"].splitlines()) == 12
        assert len(set(facts.values())) == 1, facts

    def test_what_must_differ_between_hosts_does(self, lab: LabStack) -> None:
        for command in (
            "cat /etc/machine-id",
            "hostname",
            "cat /etc/ssh/ssh_host_ed25519_key",
            "ip -br addr show eth0",
        ):
            assert len(set(lab.on_each(command).values())) == 3, command

    def test_hosts_are_named_and_placed_as_the_outputs_say(self, lab: LabStack) -> None:
        assert [(h["name"], h["role"]) for h in lab.hosts] == [
            ("host-1", "controller"), ("host-2", "worker"), ("host-3", "worker"),
        ]  # fmt: skip
        for host in lab.hosts:
            told = lab.ssh(host["name"], "hostname; ip -o -4 addr show eth0").stdout
            assert told.startswith(f"{host['name']}\n")
            assert f"{host['address']}/" in told

    def test_no_unit_has_failed_on_a_host(self, lab: LabStack) -> None:
        assert set(lab.on_each("systemctl list-units --failed --no-legend --plain").values()) == {""}

    def test_caps_seen_from_inside_are_the_settings(self, lab: LabStack) -> None:
        seen = lab.on_each("grep -c ^processor /proc/cpuinfo; awk '/MemTotal/ { print $2 }' /proc/meminfo")
        assert set(seen.values()) == {f"{CPUS}\n{MEMORY_MIB * 1024}"}

    def test_the_processor_cap_holds_under_load(self, lab: LabStack) -> None:
        pid = lab.machine_process("host-3")
        before = throttled(pid)
        took = lab.ssh(
            "host-3",
            "began=$(date +%s%N); for n in 1 2; do timeout 4 bash -c 'while :; do :; done' & done; wait; "
            "echo $((($(date +%s%N) - began) / 1000000)); awk '{ print ($14 + $15 + $16 + $17) * 10 }' /proc/$$/stat",
        ).stdout.split()
        wall_ms, used_ms = map(float, took)
        assert 3500 < wall_ms < 30000
        assert used_ms > 0.2 * wall_ms, "the loops did not run"
        assert used_ms <= CPUS * 1.1 * wall_ms
        periods, held = (now - then for now, then in zip(throttled(pid), before, strict=True))
        assert periods > 0
        # On a machine that had a second processor to give, the cap was what kept it.
        if used_ms > 0.9 * CPUS * wall_ms:
            assert held > 0

    def test_kubelets_advertise_the_caps_and_not_the_machine(self, lab: LabStack) -> None:
        for node in lab.get("nodes")["items"]:
            assert node["status"]["capacity"]["cpu"] == str(CPUS)
            assert kib(node["status"]["capacity"]["memory"]) == MEMORY_MIB * 1024


class TestNetwork:
    def test_a_host_with_another_key_than_the_recorded_one_is_refused(self, lab: LabStack, tmp_path: Path) -> None:
        known = {line.split()[0]: line.split(None, 1)[1] for line in (lab.run_folder / "known_hosts").open()}
        wrong = tmp_path / "known_hosts"
        wrong.write_text(f"host-1 {known['host-2']}")
        refused = lab.ssh("host-1", "true", "-o", f"UserKnownHostsFile={wrong}", check=False)
        assert refused.returncode == 255
        assert "Host key verification failed" in refused.stderr

    def test_a_host_that_is_not_known_is_refused_and_not_learnt(self, lab: LabStack, tmp_path: Path) -> None:
        empty = tmp_path / "known_hosts"
        empty.touch()
        refused = lab.ssh("host-1", "true", "-o", f"UserKnownHostsFile={empty}", check=False)
        assert refused.returncode == 255
        assert empty.read_text() == ""

    def test_no_other_key_opens_a_host(self, lab: LabStack, tmp_path: Path) -> None:
        key = tmp_path / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=20)
        config = tmp_path / "ssh_config"
        config.write_text(
            (lab.run_folder / "ssh_config").read_text().replace(str(lab.run_folder / "id_ed25519"), str(key))
        )
        refused = subprocess.run(
            ["ssh", "-F", str(config), "host-1", "true"], capture_output=True, text=True, timeout=30
        )
        assert refused.returncode == 255
        assert "Permission denied" in refused.stderr

    def test_the_labs_files_that_open_it_are_for_their_owner_alone(self, lab: LabStack) -> None:
        for name in ("id_ed25519", "kubeconfig", "hosts.json"):
            assert stat.S_IMODE((lab.run_folder / name).stat().st_mode) == 0o600, name

    def test_the_lab_listens_on_nothing_of_the_operators(self, lab: LabStack) -> None:
        operator = Path("/proc/self/ns/net").readlink()
        pids = {p for p in machine.processes_of(lab.names["LAB_ID"]) if same_network(p, operator)}
        listeners = machine.output("ss", "-Hltunp").splitlines()
        assert listeners, "ss shows no listener at all, so this test could not fail"
        assert not [x for x in listeners if f"{lab.names['PREFIX']}." in x]
        assert not [x for x in listeners if pids & {int(p) for p in re.findall(r"pid=(\d+)", x)}]

    def test_hosts_do_not_reach_what_the_operator_listens_on(self, lab: LabStack, listener: int) -> None:
        operator = f"{lab.names['PREFIX']}.254"
        with socket.create_connection((operator, listener), 5):
            pass  # it is open, from here
        for host in lab.hosts:
            tried = lab.ssh(host["name"], f"timeout 1 bash -c '</dev/tcp/{operator}/{listener}'", check=False)
            assert tried.returncode != 0, host["name"]
            assert tried.returncode != 255, tried.stderr

    def test_there_is_no_way_out_of_the_lab(self, lab: LabStack) -> None:
        assert machine.output("ip", "-n", lab.namespace, "route", "show", "default").strip() == ""
        assert "policy drop" in machine.output("ip", "netns", "exec", lab.namespace, "nft", "list", "ruleset")

    def test_hosts_reach_each_other(self, lab: LabStack) -> None:
        for host in lab.hosts:
            for other in lab.hosts:
                lab.ssh(host["name"], f"timeout 5 bash -c '</dev/tcp/{other['address']}/22'")


class TestCluster:
    def in_client(self, lab: LabStack, namespace: str, command: str) -> str:
        return lab.kubectl("-n", namespace, "exec", "client", "--", "sh", "-c", command, timeout=60).stdout

    def page(self, lab: LabStack, namespace: str, address: str, port: int) -> str:
        """What the client pod is served there: the server's node."""
        request = rf"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 10 {address} {port}"
        head, _, body = self.in_client(lab, namespace, request).replace("\r", "").partition("\n\n")
        assert head.startswith("HTTP/1.1 200"), head
        return body.strip()

    def test_every_node_is_ready_and_of_the_version_that_the_outputs_name(self, lab: LabStack) -> None:
        told = lab.outputs()["cluster"]
        nodes = lab.get("nodes")["items"]
        assert sorted(n["metadata"]["name"] for n in nodes) == told["nodes"] == ["host-1", "host-2", "host-3"]
        assert {n["status"]["nodeInfo"]["kubeletVersion"] for n in nodes} == {told["version"]}
        for node in nodes:
            conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
            assert conditions == {
                "Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False",
                "NetworkUnavailable": "False",
            }, node["metadata"]["name"]  # fmt: skip

    def test_the_controller_alone_is_tainted(self, lab: LabStack) -> None:
        taints = {n["metadata"]["name"]: n["spec"].get("taints", []) for n in lab.get("nodes")["items"]}
        taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
        assert taints == {"host-1": [taint], "host-2": [], "host-3": []}

    def test_a_pod_reaches_a_pod_on_another_host(self, lab: LabStack, namespace: str) -> None:
        server = lab.get("-n", namespace, "pod", "server")["status"]
        assert server["hostIP"] != lab.get("-n", namespace, "pod", "client")["status"]["hostIP"]
        assert self.page(lab, namespace, server["podIP"], 8080) == "host-3"

    def test_a_service_answers_at_its_address(self, lab: LabStack, namespace: str) -> None:
        address = lab.get("-n", namespace, "service", "server")["spec"]["clusterIP"]
        assert self.page(lab, namespace, address, 80) == "host-3"

    def test_a_service_answers_on_hosts_too(self, lab: LabStack, namespace: str) -> None:
        address = lab.get("-n", namespace, "service", "server")["spec"]["clusterIP"]
        for host in lab.hosts:
            lab.ssh(host["name"], f"timeout 10 bash -c '</dev/tcp/{address}/80'")

    def test_names_of_services_resolve_in_pods(self, lab: LabStack, namespace: str) -> None:
        address = lab.get("-n", namespace, "service", "server")["spec"]["clusterIP"]
        assert address in self.in_client(lab, namespace, f"nslookup server.{namespace}.svc.cluster.local")
        assert "10.96.0.1" in self.in_client(lab, namespace, "nslookup kubernetes.default.svc.cluster.local")

    def test_a_pod_does_not_reach_what_the_operator_listens_on(
        self, lab: LabStack, namespace: str, listener: int
    ) -> None:
        def tried(address: str, port: int) -> str:
            return self.in_client(
                lab, namespace, f"nc -w 2 {address} {port} </dev/null && echo open || echo shut"
            ).split()[-1]

        assert tried(lab.hosts[0]["address"], 6443) == "open"
        assert tried(f"{lab.names['PREFIX']}.254", listener) == "shut"

    def test_kubectl_exec_and_logs_work_from_the_operators_shell(self, lab: LabStack, namespace: str) -> None:
        shown = lab.kubectl(
            "-n", namespace, "exec", "-i", "server", "--", "cat", stdin="through the API server\n"
        ).stdout
        assert shown == "through the API server\n"
        failed = lab.kubectl("-n", namespace, "exec", "server", "--", "sh", "-c", "exit 7", check=False)
        assert failed.returncode == 7
        assert lab.kubectl("-n", namespace, "logs", "server").stdout == "serving on host-3\n"

    def test_the_kubernetes_package_works_with_the_secret_output(
        self, lab: LabStack, namespace: str, tmp_path: Path
    ) -> None:
        assert lab.outputs()["kubeconfig"] == "[secret]"
        path = tmp_path / "kubeconfig"
        path.write_text(lab.outputs(secrets=True)["kubeconfig"])
        assert path.read_text() == lab.kubeconfig.read_text()
        connect: Callable[[str], Any] = kubernetes.config.new_client_from_config
        api = kubernetes.client.CoreV1Api(connect(str(path)))
        assert len(api.list_node().items) == 3
        assert api.read_namespaced_pod_log("server", namespace) == "serving on host-3\n"
        words = ["cat", "/tmp/www/index.html"]
        streaming = kubernetes.client.CoreV1Api(connect(str(path)))
        shown = stream(
            streaming.connect_get_namespaced_pod_exec, "server", namespace, command=words,
            stdout=True, stderr=True, stdin=False, tty=False, _request_timeout=30,
        )  # fmt: skip
        assert shown.strip() == "host-3"

    def test_nobody_gets_in_without_a_certificate(self, lab: LabStack) -> None:
        config = json.loads(lab.kubeconfig.read_text())
        server = config["clusters"][0]["cluster"]["server"]
        authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        for path in ("/api", "/version", "/metrics"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(server + path, timeout=10, context=ssl.create_default_context(cadata=authority))
            assert refused.value.code == 401, path

    def test_a_client_that_trusts_another_lab_refuses_this_one(self, lab: LabStack, second: LabStack) -> None:
        server = json.loads(lab.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        other = json.loads(second.kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
        trust = ssl.create_default_context(cadata=base64.b64decode(other).decode())
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(server, timeout=10, context=trust)


class TestResults:
    def result(self, lab: LabStack, workload: str) -> dict[str, Any]:
        path = lab.results_folder / f"latest-{workload}" / "result.json"
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def repeats(self, lab: LabStack, workload: str) -> list[dict[str, Any]]:
        """Warm-ups, then what was measured."""
        result = self.result(lab, workload)
        return [*result["warmups"], *result["repeats"]]

    def test_the_outputs_hold_both_summaries_and_the_schema_allows_them(
        self, lab: LabStack, schema: dict[str, Any]
    ) -> None:
        results = lab.outputs()["results"]
        assert set(results["workloads"]) == set(WORKLOAD_PODS)
        for name, summary in results["workloads"].items():
            jsonschema.validate(summary, {**schema, **schema["$defs"]["Summary"]})
            assert summary["workload"] == name
            assert summary["success_rate"] == 1.0
            assert (summary["pods_requested"], summary["pods_succeeded"]) == (WORKLOAD_PODS[name],) * 2

    def test_raw_results_are_where_the_outputs_say_and_the_schema_allows_them(
        self, lab: LabStack, schema: dict[str, Any]
    ) -> None:
        outputs = lab.outputs()
        assert PROJECT / outputs["resultsDir"] == lab.results_folder
        for name in WORKLOAD_PODS:
            result = self.result(lab, name)
            jsonschema.validate(result, schema)
            assert result["complete"] is True
            # Pulumi's outputs leave out what is null.
            assert outputs["results"]["workloads"][name] == without_nulls(result["summary"])

    def test_the_schema_does_refuse(self, lab: LabStack, schema: dict[str, Any]) -> None:
        result = self.result(lab, "pods-8")
        result["repeats"][0]["pods"][0]["uid"] = 7
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(result, schema)

    def test_the_pods_that_were_counted_are_those_that_another_watch_saw(self, standing: Standing) -> None:
        seen = {p.uid: p for p in standing.pods.pods.values() if p.namespace != "kube-system"}
        recorded = [
            pod for name in WORKLOAD_PODS for repeat in self.repeats(standing.lab, name) for pod in repeat["pods"]
        ]
        assert len(recorded) == WARMUPS_AND_REPEATS * sum(WORKLOAD_PODS.values())
        assert {p["uid"] for p in recorded} == set(seen)
        assert all("Running" in seen[p["uid"]].phases for p in recorded if p["succeeded"])
        assert Counter(p["node"] for p in recorded) == Counter(n for p in seen.values() for n in p.nodes)

    def test_no_measured_pod_ran_on_the_controller(self, standing: Standing) -> None:
        nodes = {n for p in standing.pods.pods.values() if p.namespace != "kube-system" for n in p.nodes}
        assert nodes == {"host-2", "host-3"}

    def test_every_pod_and_namespace_of_a_run_is_gone(self, standing: Standing) -> None:
        assert all(p.deleted for p in standing.pods.pods.values() if p.namespace != "kube-system")
        kept = [n["metadata"] for n in standing.lab.get("namespaces")["items"] if n["status"]["phase"] == "Active"]
        assert not [n["name"] for n in kept if n["name"].startswith("bench")]

    @pytest.mark.parametrize(
        ("verb", "resource", "workload", "code"),
        [("create", "pods", "pods-8", 201), ("create", "deployments", "deployments-40", 201)],
    )
    def test_the_api_server_counted_as_many_creations(
        self, standing: Standing, verb: str, resource: str, workload: str, code: int
    ) -> None:
        calls = [
            call
            for repeat in self.repeats(standing.lab, workload)
            for call in repeat["calls"]
            if (call["verb"], call["resource"], call["status"]) == (verb, resource, code)
        ]
        counted = requests(standing.metrics, verb="POST", resource=resource, code=str(code), subresource="")
        others = {"pods": own_pods(standing, workload), "deployments": 0}[resource]
        assert len(calls) == WARMUPS_AND_REPEATS * 8
        assert counted == len(calls) + others

    def test_a_result_says_how_long_each_step_took_on_which_host(self, lab: LabStack) -> None:
        steps = {(s["step"], s["host"]) for s in self.result(lab, "pods-8")["steps"]}
        assert {("network", "lab"), ("controller", "host-1"), ("verify", "host-1")} <= steps
        for number in (1, 2, 3):
            assert {("host", f"host-{number}"), ("node", f"host-{number}")} <= steps


class TestAgain:
    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        def marks() -> dict[str, str]:
            return {
                **lab.on_each("cat /var/lib/litelab/steps.jsonl"),
                "here": (lab.run_folder / "steps.jsonl").read_text(),
            }

        before, results = marks(), sorted(lab.results_folder.iterdir())
        shown = lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes").stdout
        assert re.search(r"^ +\d+ unchanged$", shown, re.MULTILINE), shown
        assert marks() == before
        assert sorted(lab.results_folder.iterdir()) == results

    def test_a_preview_of_a_standing_lab_plans_nothing(self, lab: LabStack) -> None:
        lab.pulumi("preview", "--expect-no-changes")

    def test_git_sees_nothing_of_it(self, standing: Standing) -> None:
        assert tree() <= standing.tree_before
        ignored = machine.output("git", "-C", str(PROJECT), "check-ignore", ".lab/run", ".lab/state", ".lab/config")
        assert len(ignored.splitlines()) == 3

    def test_a_misspelt_key_is_one_paragraph_and_makes_nothing(self) -> None:
        wrong = LabStack("test-lab-wrong", {"hosts.memoryMb": "2048"})
        try:
            wrong.prepare()
            shown = wrong.pulumi("up", "--yes", "--skip-preview", check=False)
            assert shown.returncode != 0
            text = shown.stdout + shown.stderr
            assert "unknown key hosts.memoryMb. Did you mean memoryMib?" in text
            assert "Traceback" not in text
            assert not wrong.run_folder.exists()
        finally:
            wrong.remove()


class TestTwoLabs:
    def test_they_have_subnets_links_and_names_of_their_own(self, lab: LabStack, second: LabStack) -> None:
        for name in ("LAB_ID", "PREFIX", "UPLINK"):
            assert lab.names[name] != second.names[name], name

    def test_each_lab_is_reached_with_its_own_keys(self, lab: LabStack, second: LabStack) -> None:
        assert lab.ssh("host-1", "cat /etc/machine-id").stdout != second.ssh("host-1", "cat /etc/machine-id").stdout

    def test_a_host_of_one_lab_does_not_reach_one_of_the_other(self, lab: LabStack, second: LabStack) -> None:
        there = second.hosts[0]["address"]
        with socket.create_connection((there, 22), 5):
            pass  # it is open, from here
        tried = lab.ssh("host-1", f"timeout 2 bash -c '</dev/tcp/{there}/22'", check=False)
        assert tried.returncode not in (0, 255)

    def test_a_single_host_runs_workloads_when_it_was_told_to(self, second: LabStack) -> None:
        node = second.get("nodes")["items"][0]
        assert "taints" not in node["spec"]
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "here"},
            "spec": {"containers": [container(PAUSE)]},
        }
        wait_for(
            "the default service account", 30,
            lambda: second.kubectl("get", "serviceaccount", "default", check=False).returncode == 0 or None,
        )  # fmt: skip
        second.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        second.kubectl("wait", "pod/here", "--for=condition=Ready", "--timeout=60s", timeout=90)

    def test_a_lab_without_workloads_has_empty_results(self, second: LabStack) -> None:
        assert second.outputs()["results"] == {"schemaVersion": 1, "workloads": {}, "measuredAt": {}}

    def test_destroying_one_leaves_nothing_of_it_and_the_other_as_it_is(self, lab: LabStack, second: LabStack) -> None:
        marks, machines = marks_of(second), lab.machine_ids()
        assert machine.look().traces_of(*marks), "the marks show nothing of a lab that stands"
        second.pulumi("destroy", "--yes", "--skip-preview")
        assert machine.look().traces_of(*marks) == {}
        assert lab.machine_ids() == machines
        assert set(lab.on_each("systemctl is-active kubelet").values()) == {"active"}
        assert lab.kubectl("get", "--raw", "/readyz").stdout == "ok"


class TestLimits:
    def test_what_takes_more_memory_than_the_cap_is_ended_inside(self, lab: LabStack) -> None:
        pid = lab.machine_process("host-3")
        others = {host: lab.ssh(host, "cat /proc/1/stat | cut -d' ' -f22").stdout for host in ("host-1", "host-2")}
        kills = out_of_memory_kills(pid)
        more = (MEMORY_MIB + 512) * 2**20
        began = time.monotonic()
        tried = lab.ssh("host-3", f"head -c {more} /dev/zero | timeout 90 tail -n 1 | wc -c", timeout=120, check=False)
        assert tried.stdout.strip() != str(more), "it got more than the cap"
        assert out_of_memory_kills(pid) > kills
        # The kernel's own peak may show what it was about to refuse.
        assert most_memory(pid) <= MEMORY_MIB * 2**20 + 2**20
        assert time.monotonic() - began < 100
        # The other hosts and the machine of this one go on.
        assert lab.ssh("host-3", "hostname").stdout == "host-3\n"
        assert {h: lab.ssh(h, "cat /proc/1/stat | cut -d' ' -f22").stdout for h in others} == others
        wait_for("host-3 to be Ready", 60, lambda: node_ready(lab, "host-3") or None)


class TestRestart:
    def test_a_host_that_restarts_is_the_node_that_it_was(self, lab: LabStack) -> None:
        def state() -> tuple[str, str]:
            asked = lab.ssh(
                "host-2", "cut -d' ' -f22 /proc/1/stat; head -n 1 /proc/meminfo", "-o", "ConnectTimeout=3", check=False
            )
            booted, _, memory = asked.stdout.strip().partition("\n")
            return booted, memory

        (booted, memory), ids = state(), lab.machine_ids()
        lab.ssh("host-2", "systemctl reboot", check=False)
        now = wait_for(
            "host-2 to start again", 60, lambda: ((found := state())[0] not in {"", booted} and found) or None
        )
        assert now[1] == memory, "its cap is gone"
        assert lab.machine_ids() == ids
        since = heartbeat(lab, "host-2")
        wait_for(
            "its node to be Ready again",
            90,
            lambda: (heartbeat(lab, "host-2") > since and node_ready(lab, "host-2")) or None,
        )
        lab.kubectl("create", "-f", "-", stdin=json.dumps(pod("again", "host-2", "exec sleep 3600")))
        lab.kubectl("wait", "pod/again", "--for=condition=Ready", "--timeout=60s", timeout=90)
        lab.kubectl("delete", "pod", "again", "--now")


class TestFewerWorkers:
    def test_a_worker_that_leaves_is_no_node_any_more_and_the_others_stay(self, lab: LabStack) -> None:
        stay = {name: pid for name, pid in lab.machine_ids().items() if name != "host-3"}
        lab.pulumi(
            "config", "set-all", "--path", "--plaintext", "litelab:workers=1", "--plaintext", "litelab:workloads=[]"
        )
        lab.pulumi("up", "--yes", "--skip-preview")
        assert [node["metadata"]["name"] for node in lab.get("nodes")["items"]] == ["host-1", "host-2"]
        assert lab.machine_ids() == stay


class TestDestroy:
    def test_nothing_is_left_of_a_lab(self, standing: Standing) -> None:
        lab = standing.lab
        marks = marks_of(lab)
        pids = machine.processes_of(lab.names["LAB_ID"])
        assert len(pids) > 10
        assert set(machine.look().traces_of(*marks)) >= {
            "namespaces", "links", "routes", "addresses", "mounts", "cgroups", "processes", "registry",
        }  # fmt: skip
        standing.second.pulumi("destroy", "--yes", "--skip-preview")
        lab.pulumi("destroy", "--yes", "--skip-preview")
        after = machine.look()
        assert after.traces_of(*marks) == {}
        assert not machine.processes_of(lab.names["LAB_ID"])
        assert not list((lab.run_folder / "hosts").glob("*"))
        for secret in ("id_ed25519", "kubeconfig", "hosts.json", "known_hosts"):
            assert not (lab.run_folder / secret).exists(), secret
        if not standing.machine_before.has_labs and not after.has_labs:
            # Alone on the machine, everything is as it was: sysctls, filters and what carries no mark, too.
            added = after.added_since(standing.machine_before)
            added.pop("processes", None)
            assert added == {}

    def test_what_was_measured_stays(self, lab: LabStack) -> None:
        for name in WORKLOAD_PODS:
            assert (lab.results_folder / f"latest-{name}" / "result.json").is_file()

    def test_destroying_again_is_no_error(self, lab: LabStack) -> None:
        lab.pulumi("destroy", "--yes", "--skip-preview")


def marks_of(lab: LabStack) -> tuple[str, ...]:
    """What only this lab's things are called."""
    names = lab.names
    return names["LAB_ID"], f"{names['PREFIX']}.", names["UPLINK"], f"{lab.run_folder}/"


def container(image: str) -> dict[str, Any]:
    return {"name": "main", "image": image, "imagePullPolicy": "Never"}


def pod(name: str, node: str, script: str) -> dict[str, Any]:
    """A pod on one node, by the scheduler's own choice among one."""
    environment = [{"name": "NODE", "value": node}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
            "containers": [{**container(BUSYBOX), "command": ["sh", "-c", script.strip()], "env": environment}],
        },
    }


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


def kib(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)?", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Ki": 1, "Mi": 1024, "Gi": 1024 * 1024}[unit]


def node_ready(lab: LabStack, name: str) -> bool:
    conditions = lab.get("node", name)["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def heartbeat(lab: LabStack, name: str) -> str:
    """When the node's kubelet last renewed its lease."""
    return str(lab.get("-n", "kube-node-lease", "lease", name)["spec"]["renewTime"])


def same_network(pid: int, namespace: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/net").readlink() == namespace
    except OSError:
        return False


def figures(path: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}


def throttled(pid: int) -> tuple[int, int]:
    """Periods of the processor cap, and how many of them it cut short."""
    found = figures(machine.host_cgroup(pid, "cpu") / "cpu.stat")
    return found["nr_periods"], found["nr_throttled"]


def out_of_memory_kills(pid: int) -> int:
    folder = machine.host_cgroup(pid, "memory")
    events = folder / "memory.events"
    return figures(events if events.exists() else folder / "memory.oom_control")["oom_kill"]


def most_memory(pid: int) -> int:
    folder = machine.host_cgroup(pid, "memory")
    peak = folder / "memory.peak"
    return int((peak if peak.exists() else folder / "memory.max_usage_in_bytes").read_text())


def requests(metrics: str, **labels: str) -> int:
    """The API server's own count of requests with these labels."""
    total = 0.0
    for line in metrics.splitlines():
        if line.startswith("apiserver_request_total{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return int(total)


def own_pods(standing: Standing, workload: str) -> int:
    """Pods that were created by others than this workload's clients: of other workloads, and the cluster's."""
    mine = WARMUPS_AND_REPEATS * WORKLOAD_PODS[workload]
    return len(standing.pods.pods) - mine
