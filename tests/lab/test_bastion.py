"""A lab on a host that only a bastion reaches: with an agent's key, a login that prints, and a user who becomes root by sudo.

Both are nspawn hosts of another stack; the lab's host takes nothing from the operator's address.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import USER
from tests.contract.hostsonly import HostsStack
from tests.lab.lab import PROJECT, LabStack, environment

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]

LOGIN = "first.last"
NOISE = "echo 'Welcome to node!'; echo version=v9.9.9; printf 'no end of line'"
PREPARE = f"""
set -e
{USER.replace("useradd", "useradd --badname").replace(" op", f" {LOGIN}").replace("~op", f"/home/{LOGIN}").replace("'op ALL", f"'{LOGIN} ALL")}
for home in /root /home/{LOGIN}; do sed -i "1i {NOISE}" $home/.bashrc 2>/dev/null || echo "{NOISE}" >$home/.bashrc; done
"""


@pytest.fixture(scope="module")
def ground() -> Iterator[HostsStack]:
    stack = HostsStack("bastion-ground", {"kind": "nspawn", "cpus": 2, "memoryMib": 1536}, ("controller", "worker"))
    try:
        stack.prepare()
        stack.up()
        stack.by_root("host-2", PREPARE)
        operator = stack.hosts[0]["address"].rpartition(".")[0] + ".254"
        # The bastion is another address in the hosts' own network.
        stack.by_root("host-2", f"iptables -I INPUT -s {operator} -j DROP")
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="module")
def agent(ground: HostsStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of an agent that has the key of the hosts."""
    socket = tmp_path_factory.mktemp("agent") / "socket"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert process.poll() is None
        key = ground.run_folder / "id_ed25519"
        subprocess.run(["ssh-add", "-q", str(key)], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(socket)})
        yield str(socket)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def lab(ground: HostsStack, agent: str) -> Iterator[LabStack]:
    bastion, host = ground.hosts
    settings = {
        "hosts.kind": "existing",
        "hosts.addresses[0].address": host["address"],
        "hosts.addresses[0].user": LOGIN,
        "hosts.hostKeys[0]": f"{host['address']} {host['hostKey']}",
        "hosts.agent": "true",
        "hosts.bastion.address": bastion["address"],
        "hosts.bastion.hostKeys[0]": f"{bastion['address']} {bastion['hostKey']}",
        "hosts.memoryMib": "1536",
        "workers": "0",
        "controllerRunsWorkloads": "true",
        "workloads[0]": "pods-8",
        "repeats": "1",
    }
    with LabStack("test-bastion", settings, {**environment(), "SSH_AUTH_SOCK": agent}).standing() as stack:
        yield stack


def made(lab: LabStack, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-s", *words, f"STACK={lab.name}"], cwd=PROJECT, env=lab.env, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip


def test_without_the_bastion_nobody_gets_there(lab: LabStack, ground: HostsStack) -> None:
    address = ground.hosts[1]["address"]
    for port in ("22", "6443"):
        tried = subprocess.run(["timeout", "2", "bash", "-c", f": </dev/tcp/{address}/{port}"], check=False)
        assert tried.returncode == 124


def test_the_lab_is_measured_and_says_what_is_true(lab: LabStack) -> None:
    outputs = lab.outputs()
    # 3: a busy machine starts pods later than the objective allows.
    assert outputs["results"]["workloads"]["pods-8"]["outcome"]["exit_code"] in (0, 3)
    facts = (lab.run_folder / "hosts.json").read_text()
    assert "Welcome" not in facts
    steps = next(lab.results_folder.glob("latest-pods-8/steps.json")).read_text()
    assert '"step":"verify"' in steps
    assert "Welcome" not in steps


def test_hosts_are_asked_past_what_the_login_prints(lab: LabStack) -> None:
    status = made(lab, "status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert "Welcome" not in status.stdout
    assert "Ready" in status.stdout
    assert made(lab, "ssh", "CMD=id -un").stdout.endswith(f"{LOGIN}\n")


def test_the_configuration_leads_through_the_bastion_with_the_agent_alone(lab: LabStack, ground: HostsStack) -> None:
    text = (lab.run_folder / "ssh_config").read_text()
    assert f"Host jump-of-host-1\n  HostName {ground.hosts[0]['address']}\n" in text
    assert re.search(r"Host host-1\n(  .*\n)*  ProxyJump jump-of-host-1\n", text)
    assert text.count("IdentityAgent SSH_AUTH_SOCK") == 2
    assert "PRIVATE KEY" not in Path(PROJECT / f".lab/state/.pulumi/stacks/litelab/{lab.name}.json").read_text()


def test_a_deleted_configuration_comes_back(lab: LabStack) -> None:
    for name in ("ssh_config", "known_hosts"):
        (lab.run_folder / name).unlink()
    assert made(lab, "ssh", "CMD=true").returncode == 0


def test_an_unchanged_lab_shows_no_change(lab: LabStack) -> None:
    lab.pulumi("preview", "--expect-no-changes")


def test_the_host_is_given_back_as_it_was(lab: LabStack) -> None:
    for name in ("ssh_config", "known_hosts"):
        (lab.run_folder / name).unlink()
    done = lab.pulumi("destroy", "--yes", "--skip-preview")
    assert "host-1: as it was" in done.stdout, done.stdout
    forwards = lab.run_folder / "forwards"
    assert not list(forwards.glob("*.json"))
