"""What a benchmark makes of a real lab that breaks under it: every sample once, the cause in the result, an end in time."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import machine
from tests.lab.benchruns import BenchRun, Witness, counted_once
from tests.lab.lab import LabStack, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

SLACK_S = 90
"""For a machine that is busy with other things; nothing here waits for it."""
SHORT = {"startSeconds": 20, "deleteSeconds": 10, "callSeconds": 10, "namespaceSeconds": 20}


@pytest.fixture(scope="module")
def lab() -> Iterator[LabStack]:
    """A lab of two nodes on which nothing has been measured."""
    if os.geteuid() != 0:
        pytest.skip("nspawn hosts are made by root")
    stack = LabStack(
        "bench-faults",
        {"hosts.memoryMib": "1536", "workers": "1", "controllerRunsWorkloads": "true", "workloads": "[]"},
    )
    with stack.standing():
        yield stack


@pytest.fixture
def witness(lab: LabStack) -> Iterator[Witness]:
    looking = Witness(lab)
    looking.start()
    yield looking
    looking.stop()


def seen(witness: Witness, run: BenchRun, pods: int) -> None:
    """Wait until the cluster has that many of the run's pods."""

    def there() -> bool | None:
        assert run.process.poll() is None, f"it ended before it could be disturbed:\n{run.output}"
        return witness.seen() >= pods or None

    wait_for(f"{pods} pods", 90, there)


def good_again(lab: LabStack, folder: Path, witness: Witness) -> None:
    """The next run on the same lab is a good one, and nothing of earlier ones is left."""
    run = BenchRun.start(lab, folder, folder / "afterwards", clients=2)
    assert run.end(120 + SLACK_S) in (0, 3), run.output
    assert counted_once(run, witness).summary.success_rate == 1
    no_namespace_left(lab)


def no_namespace_left(lab: LabStack) -> None:
    def gone() -> bool | None:
        names = [n["metadata"]["name"] for n in lab.get("namespaces")["items"]]
        return not [n for n in names if n.startswith("bench-")] or None

    wait_for("the end of all benchmark namespaces", 120, gone)


class TestApiServer:
    def test_a_restart_in_the_middle_loses_no_pod_and_is_in_the_result(
        self, lab: LabStack, witness: Witness, tmp_path: Path
    ) -> None:
        run = BenchRun.start(lab, tmp_path, kind="deployments", clients=4, replicas=5, repeats=2)
        seen(witness, run, 1)
        lab.ssh("host-1", "systemctl kill -s KILL kube-apiserver")
        code = run.end(240 + SLACK_S)
        result = counted_once(run, witness)
        assert code in (0, 2, 3), run.output
        assert result.complete
        assert result.summary.watch_interruptions >= 1
        causes = [gap.cause for repeat in result.repeats for gap in repeat.interruptions]
        assert causes
        assert all(causes)
        for repeat in result.repeats:
            refused = [f"{call.verb} {call.resource} {call.object}" for call in repeat.calls if call.error]
            told = {failure.object for failure in repeat.failures}
            assert len(told & set(refused)) >= min(len(set(refused)), 1)
        good_again(lab, tmp_path, witness)

    def test_a_watch_that_is_cut_goes_on_and_every_pod_is_counted_once(
        self, lab: LabStack, witness: Witness, tmp_path: Path
    ) -> None:
        run = BenchRun.start(lab, tmp_path, kind="deployments", clients=4, replicas=5)
        seen(witness, run, 1)
        with reset_connections(lab):
            pass
        code = run.end(180 + SLACK_S)
        result = counted_once(run, witness)
        assert code in (0, 2, 3), run.output
        assert result.summary.watch_interruptions >= 1, run.output
        assert all(gap.resumed_ns > gap.last_byte_ns for r in result.repeats for gap in r.interruptions)
        good_again(lab, tmp_path, witness)


@contextlib.contextmanager
def reset_connections(lab: LabStack) -> Iterator[None]:
    """Packets between the operator and the API server are answered by resets, until both sides have had one."""
    nft = ["ip", "netns", "exec", lab.namespace, "nft"]

    def rules() -> list[tuple[int, str]]:
        listed = machine.output(*nft, "-a", "list", "chain", "inet", "litelab", "forward")
        return [
            (int(n), handle) for n, handle in re.findall(r"packets (\d+) bytes \d+ reject .*# handle (\d+)", listed)
        ]

    for port in ("dport", "sport"):
        rule = f"insert rule inet litelab forward tcp {port} 6443 counter reject with tcp reset"
        subprocess.run([*nft, *rule.split()], check=True, timeout=20)
    try:
        wait_for("a packet in each direction", 60, lambda: all(count for count, _ in rules()) or None)
        yield
    finally:
        for _, handle in rules():
            command = [*nft, "delete", "rule", "inet", "litelab", "forward", "handle", handle]
            subprocess.run(command, check=True, timeout=20)


class TestPods:
    def test_pods_that_crash_are_no_success_and_the_run_does_not_wait_for_them(
        self, lab: LabStack, witness: Witness, tmp_path: Path
    ) -> None:
        # Its default command, a shell without input, ends at once.
        run = BenchRun.start(lab, tmp_path, clients=3, repeats=3, image="litelab/busybox:1")
        code = run.end(240 + SLACK_S)
        result = counted_once(run, witness)
        assert result.summary.success_rate == 0
        assert code == 3, run.output
        assert len(result.repeats) == 1
        assert "further repeats would only repeat that" in run.output
        assert all("exited with code 0" in str(pod.cause) for pod in result.repeats[0].pods)
        assert any("exited with code 0" in failure for failure in result.summary.failures)

    def test_a_pod_that_no_node_has_room_for_ends_in_a_timeout_with_the_schedulers_reason(
        self, lab: LabStack, witness: Witness, tmp_path: Path
    ) -> None:
        no_namespace_left(lab)
        with room_for(lab, 5):
            run = BenchRun.start(lab, tmp_path, clients=6, limits=SHORT)
            code = run.end(sum(SHORT.values()) + SLACK_S)
            result = counted_once(run, witness)
        assert code == 2, run.output
        assert result.summary.outcome.verdict == "timeout"
        assert (result.summary.pods_requested, result.summary.pods_succeeded) == (6, 5)
        (left,) = [pod for pod in result.repeats[0].pods if not pod.succeeded]
        assert left.node is None
        assert "not scheduled" in str(left.cause)
        assert "Too many pods" in str(left.cause)
        good_again(lab, tmp_path, witness)


@contextlib.contextmanager
def room_for(lab: LabStack, pods: int) -> Iterator[None]:
    """The nodes take this many more pods, all together."""
    share = {"host-1": pods // 2, "host-2": pods - pods // 2}

    def capacity(host: str) -> int:
        return int(lab.get("node", host)["status"]["allocatable"]["pods"])

    here = [p["spec"].get("nodeName") for p in lab.get("pods", "--all-namespaces")["items"]]
    try:
        for host, more in share.items():
            most = here.count(host) + more
            lab.ssh(host, f"echo 'maxPods: {most}' >>/etc/kubernetes/kubelet.yaml && systemctl restart kubelet")
            wait_for(f"{host}'s new capacity", 90, lambda host=host, most=most: capacity(host) == most)  # type: ignore[misc]
        yield
    finally:
        for host in share:
            lab.ssh(host, "sed -i '/^maxPods:/d' /etc/kubernetes/kubelet.yaml && systemctl restart kubelet")
        for host in share:
            wait_for(f"{host}'s old capacity", 90, lambda host=host: capacity(host) > 100)  # type: ignore[misc]


class TestNode:
    def test_a_node_that_goes_away_costs_its_own_pods_alone_and_the_run_ends_in_time(
        self, lab: LabStack, witness: Witness, tmp_path: Path
    ) -> None:
        no_namespace_left(lab)
        link = ["ip", "-n", lab.namespace, "link", "set", "host-2"]
        subprocess.run([*link, "down"], check=True, timeout=20)
        try:
            run = BenchRun.start(lab, tmp_path, clients=8, limits=SHORT)
            code = run.end(sum(SHORT.values()) + 60 + SLACK_S)
            result = counted_once(run, witness)
        finally:
            subprocess.run([*link, "up"], check=True, timeout=20)
        assert code in (1, 2), run.output
        pods = result.repeats[0].pods
        assert len(pods) == 8
        assert {pod.node for pod in pods if pod.succeeded} <= {"host-1"}
        lost = [pod for pod in pods if pod.node == "host-2"]
        assert lost, "the scheduler gave the node that is away nothing, so this test saw nothing"
        assert not [pod for pod in lost if pod.succeeded]
        assert result.summary.success_rate == (8 - len(lost)) / 8
        assert any(failure for failure in result.summary.failures)
        wait_for(
            "host-2 to be Ready", 120,
            lambda: lab.kubectl("wait", "node/host-2", "--for=condition=Ready", "--timeout=5s", check=False).returncode == 0,
        )  # fmt: skip
        good_again(lab, tmp_path, witness)


class TestRuns:
    def test_a_second_run_into_the_same_folder_is_refused_and_the_first_is_whole(
        self, lab: LabStack, witness: Witness, tmp_path: Path
    ) -> None:
        first = BenchRun.start(lab, tmp_path, clients=4, repeats=3)
        seen(witness, first, 1)
        second = BenchRun.start(lab, tmp_path, clients=4)
        assert second.end(60 + SLACK_S) == 1
        assert "takes the results of another run that goes on" in second.output
        assert first.end(180 + SLACK_S) in (0, 3), first.output
        result = counted_once(first, witness)
        assert result.complete
        assert len(result.repeats) == 3
        assert not (tmp_path / "out/previous").exists()

    def test_a_second_run_on_the_same_cluster_says_whom_it_would_disturb(
        self, lab: LabStack, witness: Witness, tmp_path: Path
    ) -> None:
        first = BenchRun.start(lab, tmp_path, clients=4, repeats=3)
        seen(witness, first, 1)
        second = BenchRun.start(lab, tmp_path, tmp_path / "other", clients=4)
        assert second.end(60 + SLACK_S) == 1
        assert f"Process {first.process.pid} on this machine" in second.output
        assert first.end(180 + SLACK_S) in (0, 3), first.output
        assert counted_once(first, witness).summary.success_rate == 1

    def test_ctrl_c_keeps_what_was_measured_and_removes_its_namespaces(
        self, lab: LabStack, witness: Witness, tmp_path: Path
    ) -> None:
        run = BenchRun.start(lab, tmp_path, clients=4, repeats=50)
        run.until("repeat 2/50:")
        run.signal(signal.SIGINT)
        assert run.end(240 + SLACK_S) == 1
        result = counted_once(run, witness)
        assert not result.complete
        assert "SIGINT" in (result.error or "")
        assert len(result.repeats) >= 2
        assert all(pod.succeeded for repeat in result.repeats[:2] for pod in repeat.pods)
        no_namespace_left(lab)

    def test_a_killed_run_has_its_finished_repeats_and_the_next_one_clears_up_after_it(
        self, lab: LabStack, witness: Witness, tmp_path: Path
    ) -> None:
        run = BenchRun.start(lab, tmp_path, clients=4, repeats=50)
        run.until("repeat 2/50:")
        run.signal(signal.SIGKILL)
        run.end(240 + SLACK_S)
        samples = [s for s in run.samples() if s["kind"] == "pod"]
        finished = {s["uid"] for s in samples if s["repeat"] <= 2}
        assert len(finished) == len([s for s in samples if s["repeat"] <= 2]) == 8
        mine = {uid for name, pods in witness.pods.items() if re.search(r"-[12]$", name) for uid in pods}
        assert finished == mine
        afterwards = BenchRun.start(lab, tmp_path, clients=2)
        assert afterwards.end(180 + SLACK_S) in (0, 3), afterwards.output
        assert "left by a run that was killed" in afterwards.output
        counted_once(afterwards, witness)
        kept = list((tmp_path / "out/previous").glob("*/samples.jsonl"))
        assert len(kept) == 1
        assert len(kept[0].read_text().splitlines()) >= len(samples)
        no_namespace_left(lab)
