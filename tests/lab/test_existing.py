"""A whole lab of upstream Kubernetes on hosts that live on: those of another stack, which are as they were when it is gone.

The hosts are in another order than by their names, and who logs in is no root.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.cases import NAMES, existing_hosts, existing_traces, inventory
from tests.contract.conftest import ground
from tests.contract.hostsonly import HostsStack
from tests.lab.lab import LabStack

__all__ = ["ground"]
pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

# What only a user would have put there; a careless reset takes it along.
OF_THE_USER = """
iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j RETURN
iptables -A FORWARD -s 192.0.2.0/24 -m comment --comment "the user's own" -j ACCEPT
mkdir -p /opt/theirs /etc/theirs /root/.kube
echo theirs | tee /opt/theirs/file /etc/theirs/file /usr/local/bin/theirs >/root/.kube/config
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/theirs.service
systemctl daemon-reload
systemctl enable -q --now theirs
mkdir -p /var/lib/etcd /etc/rancher /opt/cni /var/log/pods
mountpoint -q /var/lib/etcd || mount -t tmpfs -o size=256m none /var/lib/etcd
mkdir -p /var/lib/etcd/lost+found
ip netns list | grep -q cni-theirs || ip netns add cni-theirs
ip link show dummy0 >/dev/null 2>&1 || ip link add dummy0 type bridge
"""


@pytest.fixture(scope="module")
def before(ground: HostsStack) -> dict[str, Any]:
    """What is on the hosts before the lab."""
    for name in NAMES:
        ground.by_root(name, OF_THE_USER)
    return inventory(ground)


@pytest.fixture(scope="module")
def lab(ground: HostsStack, before: dict[str, Any]) -> Iterator[LabStack]:
    """The lab, up."""
    hosts = {f"hosts.{key}": value for key, value in existing_hosts(ground).items()}
    plain = {key: str(value) for key, value in hosts.items() if not isinstance(value, list)}
    listed = {
        f"{k}[{n}]": str(v) for k, values in hosts.items() if isinstance(values, list) for n, v in enumerate(values)
    }
    stack = LabStack("test-existing", {**plain, **listed, "workloads": '["pods-8"]', "repeats": "1"})
    with stack.standing():
        yield stack


class TestUp:
    def test_every_node_is_ready_under_its_name_in_the_lab(self, ground: HostsStack, lab: LabStack) -> None:
        nodes = {
            node["metadata"]["name"]: (
                next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"),
                next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"),
            )
            for node in lab.get("nodes")["items"]
        }
        there = {host["name"]: host["address"] for host in ground.hosts}
        assert nodes == {
            "host-1": (there["host-2"], "True"), "host-2": (there["host-3"], "True"), "host-3": (there["host-1"], "True"),
        }  # fmt: skip

    def test_pods_were_measured(self, lab: LabStack) -> None:
        summary = lab.outputs()["results"]["workloads"]["pods-8"]
        assert (summary["success_rate"], summary["pods_succeeded"]) == (1, 8)

    def test_results_say_what_the_hosts_are(self, lab: LabStack) -> None:
        result = json.loads((lab.results_folder / "latest-pods-8" / "result.json").read_text())
        told = result["fingerprint"]["lab"]
        assert told["kind"] == "existing"
        assert {key: told["facts"][key] for key in ("alike", "differences", "cpus", "memoryMib")} == {
            "alike": True, "differences": [], "cpus": 1, "memoryMib": 1280,
        }  # fmt: skip
        assert [host["error"] for host in result["fingerprint"]["hosts"]] == [None] * 3

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")


class TestDestroy:
    def test_the_hosts_are_as_they_were(self, ground: HostsStack, lab: LabStack, before: dict[str, Any]) -> None:
        standing = inventory(ground)
        for name in NAMES:
            assert len(standing[name] - before[name]) > 100, "the inventory does not see a cluster"
        shown = lab.pulumi("destroy", "--yes", "--skip-preview").stdout
        after = inventory(ground)
        for name in NAMES:
            assert sorted(after[name] - before[name]) == []
            assert sorted(before[name] - after[name]) == []
            assert f"{name}: as it was" in shown
        assert existing_traces(ground, ground) == {}

    def test_what_the_user_had_runs_on(self, ground: HostsStack) -> None:
        for name in NAMES:
            assert ground.by_root(name, "systemctl is-active theirs; cat /root/.kube/config") == "active\ntheirs\n"
            # A disk of its own was used by etcd, and is empty again.
            assert ground.by_root(name, "mountpoint -q /var/lib/etcd && ls /var/lib/etcd") == "lost+found\n"

    def test_both_lists_are_kept(self, lab: LabStack) -> None:
        for name in NAMES:
            lists = [(lab.run_folder / "inventory" / f"{name}.{when}").read_text() for when in ("before", "after")]
            assert lists[0] == lists[1]
            assert len(lists[0].splitlines()) > 500

    def test_the_same_hosts_can_be_taken_again(self, ground: HostsStack) -> None:
        again = HostsStack("contract-again", existing_hosts(ground))
        try:
            again.prepare()
            again.up()
            again.destroy()
        finally:
            again.close()
