"""What can go wrong on a host while Kubernetes is installed: an error with cause and fix, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.lab import FaultLab
from tests.faults.running import LAST_WORDS_S, Process, Running, processes
from tests.faults.tally import Tally
from tests.faults.test_hosts import cleared
from tests.faults.victims import scripts_on_hosts
from tests.lab.lab import UP_TIMEOUT_S, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]


def on_host(lab: FaultLab, path: str) -> Path:
    """A file of host-1, seen from outside."""
    return lab.record / "host-1/root" / path


def process_on_host(lab: FaultLab, name: str) -> Process | None:
    return next((p for p in processes() if f"/{lab.id}/" in p.cgroup and p.name == name[:15]), None)


def meanwhile(running: Running, what: str, look: Callable[[], object]) -> None:
    """Wait for something that must happen while the command runs."""

    def seen() -> bool | None:
        if running.has_ended:
            pytest.fail(f"the command ended before {what}:\n{running.output[-4000:]}")
        return bool(look()) or None

    wait_for(what, UP_TIMEOUT_S, seen)


def failed(running: Running, *words: str) -> None:
    """It ends by itself, with all of that in its output, and leaves no process."""
    code = running.wait(UP_TIMEOUT_S)
    output = running.output
    assert code != 0, output[-3000:]
    assert "Traceback" not in output
    missing = [word for word in words if word not in output]
    assert not missing, f"{missing} not in:\n{output[-6000:]}"
    assert running.outlived_by(LAST_WORDS_S) == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("kubelet", ("host host-1: waited", "for the node to be Ready", "kubelet is failed", "journal ends", "run the same")),
        ("kube-apiserver", ("host host-1: kube-apiserver did not start", "journal ends")),
    ],
)  # fmt: skip
def test_a_program_that_dies_at_every_start_is_an_error_with_its_journal(
    program: str, words: tuple[str, ...], lab: FaultLab, tally: Tally
) -> None:
    running = lab.start_verb("lab")
    link = on_host(lab, f"opt/litelab/upstream/links/{program}")
    # It is the last one that the step makes.
    meanwhile(running, "the links", on_host(lab, "opt/litelab/upstream/links/kubectl").is_symlink)
    injection = tally.inject("a program that dies", f"{program}, at every start")
    whole = link.readlink()
    link.unlink()
    link.symlink_to("/bin/false")
    failed(running, *words)
    link.unlink()
    link.symlink_to(whole)
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "the error has the journal; make lab went on")


@pytest.mark.parametrize("program", ["kubelet", "containerd", "etcd", "kube-apiserver"])
def test_a_program_that_dies_once_is_started_again_and_the_lab_comes_up(
    program: str, lab: FaultLab, tally: Tally
) -> None:
    running = lab.start_verb("lab")
    meanwhile(running, program, lambda: process_on_host(lab, program))
    victim = process_on_host(lab, program)
    assert victim
    assert victim.signal(signal.SIGKILL)
    injection = tally.inject("a program that dies", f"{program}, once")
    code = running.wait(UP_TIMEOUT_S)
    if code != 0:
        # A step may have been talking to it; then it says so, and the same command goes on.
        assert "error: " in running.output
        assert "Traceback" not in running.output
        lab.goes("lab")
    lab.works()
    cleared(lab, injection, f"exit code {code}, and the lab works")


KILLED_AS_IT_LAYS_OUT_ITS_STORE = """#!/bin/sh
"$0.whole" "$@" &
until [ -e /var/lib/etcd/member/wal ]; do :; done
kill -KILL $!
wait
exit 1
"""


def test_an_etcd_that_is_killed_as_it_lays_out_its_store_begins_anew(lab: FaultLab, tally: Tally) -> None:
    running = lab.start_verb("lab")
    program = on_host(lab, "opt/litelab/upstream/bin/etcd")
    meanwhile(running, "the links", on_host(lab, "opt/litelab/upstream/links/kubectl").is_symlink)
    injection = tally.inject("a program that dies", "etcd, as it lays out its store")
    whole = program.rename(program.with_name("etcd.whole"))
    program.write_text(KILLED_AS_IT_LAYS_OUT_ITS_STORE)
    program.chmod(0o755)
    failed(running, "host host-1: etcd did not start", "journal ends")
    whole.replace(program)
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "the error has the journal; make lab went on")


def test_an_api_server_that_is_never_ready_is_an_error_in_time(lab: FaultLab, tally: Tally) -> None:
    running = lab.start_verb("lab")
    meanwhile(running, "the API server", lambda: process_on_host(lab, "kube-apiserver"))
    etcd = process_on_host(lab, "etcd")
    assert etcd
    assert etcd.signal(signal.SIGSTOP)
    injection = tally.inject("API server never ready", "its etcd stands still")
    failed(running, "host host-1:", "kube-apiserver", "journal ends")
    etcd.signal(signal.SIGCONT)
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "the error has the journal; make lab went on")


def sshd_sessions(lab: FaultLab) -> list[Process]:
    return [p for p in processes() if f"/{lab.id}/" in p.cgroup and p.words.startswith("sshd: root@")]


def test_ssh_dropped_by_the_operators_side_in_the_middle_of_a_copy(lab: FaultLab, tally: Tally) -> None:
    running = lab.start_verb("lab")

    def copying() -> Process | None:
        return next((p for p in running.family() if p.name == "ssh" and "tar -xf" in p.words), None)

    meanwhile(running, "the copy", copying)
    victim = copying()
    assert victim
    assert victim.signal(signal.SIGKILL)
    injection = tally.inject("ssh dropped", "the client, while it copied")
    failed(running, "host host-1:", "ended early", "run the same command again")
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "make lab went on")


@pytest.mark.parametrize("script", ["controller.sh", "node.sh", "verify.sh"])
def test_ssh_dropped_by_the_host_in_the_middle_of_a_script(script: str, lab: FaultLab, tally: Tally) -> None:
    running = lab.start_verb("lab")
    meanwhile(running, script, lambda: [p for p in scripts_on_hosts(lab, running) if script in p.words])
    hit = [p for p in sshd_sessions(lab) if p.signal(signal.SIGKILL)]
    assert hit
    injection = tally.inject("ssh dropped", f"by the host, during {script}")
    code = running.wait(UP_TIMEOUT_S)
    assert "Traceback" not in running.output
    assert running.outlived_by(LAST_WORDS_S) == []
    assert code != 0, "the connection was lost, and nobody noticed"
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, f"exit code {code}; make lab went on")


def test_a_host_that_is_cut_off_in_the_middle_of_a_script_is_an_error_in_time(lab: FaultLab, tally: Tally) -> None:
    running = lab.start_verb("lab")
    meanwhile(
        running, "controller.sh", lambda: [p for p in scripts_on_hosts(lab, running) if "controller.sh" in p.words]
    )
    link = ["ip", "-n", lab.namespace, "link", "set", "host-1"]
    subprocess.run([*link, "down"], check=True, timeout=10)
    injection = tally.inject("ssh dropped", "the host's link is down")
    began = time.monotonic()
    try:
        code = running.wait(UP_TIMEOUT_S)
    finally:
        subprocess.run([*link, "up"], check=True, timeout=10)
    assert code != 0
    assert time.monotonic() - began < 300
    assert running.outlived_by(LAST_WORDS_S) == []
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "an error in time; make lab went on")


def test_a_destroy_that_meets_a_frozen_host_removes_it(lab: FaultLab, tally: Tally) -> None:
    lab.goes("lab")
    os.kill(lab.machine_process("host-1"), signal.SIGSTOP)
    injection = tally.inject("no answer by ssh", "the host's machine stands still")
    cleared(lab, injection, "make destroy removed it")
