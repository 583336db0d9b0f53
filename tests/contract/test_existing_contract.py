"""What only hosts that live on can show: they are refused before anything is changed, and taken by one lab at a time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.steps.scripts import scripts_of
from tests.contract.cases import existing_hosts, existing_traces, inventory
from tests.contract.hostsonly import HostsStack
from tests.lab.lab import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

# Stand-ins: they have the names by which a host is known to carry another Kubernetes, and do nothing.
K3S = "printf '#!/bin/sh\\nexit 0\\n' >/usr/local/bin/k3s-uninstall.sh; chmod +x /usr/local/bin/k3s-uninstall.sh"
DOCKER = "printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/docker.service; systemctl daemon-reload"


@pytest.fixture
def stack(ground: HostsStack) -> Iterator[HostsStack]:
    """A stack that takes the nspawn hosts; settings are each test's."""
    made = HostsStack("contract-living", existing_hosts(ground))
    try:
        made.prepare()
        yield made
    finally:
        made.close()


def refused(stack: HostsStack, **settings: Any) -> str:
    """What ``up`` says of hosts that it can't have, one paragraph a host."""
    stack.configure({**stack.settings, **settings})
    shown = stack.up(check=False)
    assert shown.returncode != 0
    text = shown.stdout + shown.stderr
    assert "Traceback" not in text
    return text


class TestRefusedHosts:
    def test_one_that_carries_another_kubernetes_is_told_from_the_others_with_what_clears_it(
        self, ground: HostsStack, stack: HostsStack
    ) -> None:
        before = inventory(ground)
        try:
            ground.by_root("host-2", K3S)
            ground.by_root("host-3", DOCKER)
            text = refused(stack)
        finally:
            ground.by_root("host-2", "rm -f /usr/local/bin/k3s-uninstall.sh")
            ground.by_root("host-3", "rm -f /etc/systemd/system/docker.service; systemctl daemon-reload")
        # The first host of the ground is the last of the lab.
        assert "host-1 (" in text
        assert "it carries K3s; to clear it, as root on the host: /usr/local/bin/k3s-uninstall.sh" in text
        assert "it carries the container runtime docker" in text
        assert "host-3 (" not in text
        assert existing_traces(stack, ground) == {}
        assert inventory(ground) == before

    def test_configuration_and_data_of_the_user_are_named_and_left_as_they_are(
        self, ground: HostsStack, stack: HostsStack
    ) -> None:
        put = """
mkdir -p /etc/rancher/k3s/config.yaml.d /var/lib/etcd
echo 'write-kubeconfig-mode: "0644"' | tee /etc/rancher/k3s/config.yaml /etc/rancher/k3s/config.yaml.d/10-theirs.yaml
mount -t tmpfs none /var/lib/etcd && echo x >/var/lib/etcd/db
"""
        try:
            ground.by_root("host-2", put)
            before = inventory(ground)
            text = refused(stack)
            assert inventory(ground) == before
        finally:
            ground.by_root("host-2", "umount /var/lib/etcd; rm -rf /etc/rancher; rmdir /var/lib/etcd")
        assert "it carries files in /etc/rancher (k3s/config.yaml" in text
        assert "'mv /etc/rancher /etc/rancher.before'" in text
        assert "leaves /var/lib/etcd mounted" in text

    def test_hosts_that_differ_are_refused_and_with_leave_taken_and_marked(
        self, ground: HostsStack, stack: HostsStack
    ) -> None:
        change = "cp -p /etc/os-release /run/os-release; echo 'PRETTY_NAME=\"Another system\"' >>/etc/os-release"
        try:
            ground.by_root("host-2", change)
            text = refused(stack)
            assert "the hosts are not alike" in text
            assert "os: host-1 Another system, host-2 Debian" in text
            assert existing_traces(stack, ground) == {}
            stack.configure({**stack.settings, "allowDifferent": True})
            stack.up()
            facts = stack.outputs()["facts"]
            assert facts["alike"] is False
            assert facts["differences"][0].startswith("os: host-1 Another system, ")
            stack.destroy()
        finally:
            ground.by_root(
                "host-2", "[ ! -e /run/os-release ] || cat /run/os-release >/etc/os-release; rm -f /run/os-release"
            )
        assert existing_traces(stack, ground) == {}

    def test_a_user_without_sudo_is_told_the_line_that_gives_it(self, ground: HostsStack, stack: HostsStack) -> None:
        try:
            ground.by_root("host-1", "mv /etc/sudoers.d/op /root/op.sudo")
            text = refused(stack)
        finally:
            ground.by_root("host-1", "mv /root/op.sudo /etc/sudoers.d/op")
        assert "host-3 (" in text
        assert "the user op may not use sudo there without a password" in text
        assert "op ALL=(ALL) NOPASSWD: ALL" in text

    def test_a_host_with_another_key_than_the_settings_is_not_logged_in_to(
        self, ground: HostsStack, stack: HostsStack, tmp_path: Path
    ) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
        other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
        keys = [f"{line.split()[0]} {other}" for line in stack.settings["hostKeys"][:1]] + stack.settings["hostKeys"][
            1:
        ]
        text = refused(stack, hostKeys=keys)
        assert "it shows a host key that hosts.hostKeys does not have" in text
        assert existing_traces(stack, ground) == {}

    def test_more_than_hosts_have_is_refused(self, stack: HostsStack) -> None:
        text = refused(stack, cpus=64, memoryMib=65536)
        assert "hosts.cpus asks for 64 at least" in text
        assert "hosts.memoryMib asks for 65536 at least" in text

    def test_where_nothing_listens_is_said_within_a_minute(self, stack: HostsStack) -> None:
        address = stack.settings["addresses"][0]
        moved = [f"{address}:2222", *stack.settings["addresses"][1:]]
        keys = [f"[{address}]:2222 {stack.settings['hostKeys'][0].split(' ', 1)[1]}", *stack.settings["hostKeys"][1:]]
        text = refused(stack, addresses=moved, hostKeys=keys)
        assert "nothing answers there. 'ssh -p 2222 op@" in text


class TestOneLabAtATime:
    def test_a_second_lab_is_refused_and_the_first_keeps_its_hosts(self, ground: HostsStack, stack: HostsStack) -> None:
        stack.up()
        second = HostsStack("contract-second", existing_hosts(ground))
        try:
            second.prepare()
            text = refused(second)
            assert "the lab contract-living-" in text
            assert "destroy that lab where it was made" in text
            second.destroy()
            stack.up("--expect-no-changes")
            assert set(existing_traces(stack, ground)) == {"host-1", "host-2", "host-3"}
        finally:
            second.close()


class TestKilledUp:
    def test_hosts_that_no_state_knows_are_given_back(self, ground: HostsStack, stack: HostsStack) -> None:
        stack.up()
        # As after a kill in the moment between taking the hosts and writing it down.
        stack.pulumi("state", "delete", "--all", "--yes", "--force")
        assert set(existing_traces(stack, ground)) == {"host-1", "host-2", "host-3"}
        script = scripts_of("existing") / "leftovers.sh"
        subprocess.run([str(script), str(stack.run_folder)], check=True, timeout=300)
        assert existing_traces(stack, ground) == {}
        assert not (stack.run_folder / "ssh_config").exists()


def change_sshd(ground: HostsStack, how: str) -> None:
    """Another configuration of the first host's sshd, which takes no connection for a moment then."""
    ground.by_root("host-1", f"{how}; systemctl reload ssh")
    wait_for("sshd to be back", 30, lambda: ground.ssh("host-1", "true", check=False).returncode == 0)


class TestHostsOutOfReach:
    def test_destroy_keeps_what_it_knows_and_ends_when_they_are_back(
        self, ground: HostsStack, stack: HostsStack
    ) -> None:
        stack.up()
        try:
            # Nobody is logged in any more, either: steps share a connection, which stays for a while.
            change_sshd(ground, "echo 'DenyUsers op' >>/etc/ssh/sshd_config; pkill -f '^sshd: op'")
            shown = stack.destroy(check=False)
        finally:
            change_sshd(ground, "sed -i /^DenyUsers/d /etc/ssh/sshd_config")
        assert shown.returncode != 0
        assert "host-3 (" in shown.stdout
        assert "run 'make destroy STACK=contract-living' again then" in shown.stdout
        assert set(existing_traces(stack, ground)) == {"host-1"}
        stack.destroy()
        assert existing_traces(stack, ground) == {}


class TestAuthority:
    def test_hosts_known_by_an_authority_alone_are_reached_by_every_step(
        self, ground: HostsStack, stack: HostsStack, tmp_path: Path
    ) -> None:
        authority = tmp_path / "authority"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(authority)], check=True)
        try:
            for host in ground.hosts:
                public = tmp_path / f"{host['name']}.pub"
                public.write_text(host["hostKey"] + "\n")
                sign = [
                    "ssh-keygen",
                    "-q",
                    "-s",
                    str(authority),
                    "-h",
                    "-I",
                    host["name"],
                    "-n",
                    host["address"],
                    str(public),
                ]
                subprocess.run(sign, check=True, capture_output=True)
                certificate = public.with_name(f"{host['name']}-cert.pub").read_text().strip()
                ground.by_root(
                    host["name"],
                    f"echo '{certificate}' >/etc/ssh/host-cert.pub; "
                    "echo 'HostCertificate /etc/ssh/host-cert.pub' >>/etc/ssh/sshd_config; systemctl reload ssh",
                )
            vouched = " ".join(authority.with_suffix(".pub").read_text().split()[:2])
            network = ground.hosts[0]["address"].rpartition(".")[0]
            stack.configure({**stack.settings, "hostKeys": [f"@cert-authority {network}.* {vouched}"]})
            stack.up()
            assert stack.by_root("host-1", "cat /var/lib/litelab/name").strip() == "host-1"
            stack.destroy()
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
            other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
            text = refused(stack, hostKeys=[f"@cert-authority {network}.* {other}"])
            assert "it shows a host key that hosts.hostKeys does not have" in text
        finally:
            for host in ground.hosts:
                ground.by_root(
                    host["name"],
                    "rm -f /etc/ssh/host-cert.pub; sed -i /^HostCertificate/d /etc/ssh/sshd_config; systemctl reload ssh",
                )
