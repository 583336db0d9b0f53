"""What a reset takes along: nothing that was on the host before the lab, and all that the lab put there.

Each distribution's ``reset.sh`` runs in namespaces of its own, on folders that stand in for a host's.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from components.config import discovery
from components.steps.scripts import scripts_of
from tests.unit.components.onhost import NEEDS_ROOT, on_empty_host

pytestmark = NEEDS_ROOT

DISTRIBUTIONS = discovery.distributions()

THEIRS = (
    "/etc/rancher/k3s/config.yaml",
    "/etc/rancher/k3s/config.yaml.d/10-theirs.yaml",
    "/etc/rancher/rke2/config.yaml",
    "/etc/k0s/k0s.yaml",
    "/etc/microshift/config.yaml",
    "/etc/microshift/manifests.d/theirs/kustomization.yaml",
    "/etc/cni/net.d/87-theirs.conflist",
    "/etc/containerd/config.toml",
    "/etc/crio/crio.conf.d/50-theirs.conf",
    "/etc/kubernetes/theirs.conf",
    "/etc/systemd/system/k3s.service.d/theirs.conf",
    "/etc/systemd/system/theirs.service",
    "/etc/containers/registries.conf.d/50-theirs.conf",
    "/opt/cni/bin/theirs",
    "/opt/theirs/a b",
    "/usr/local/bin/k3s-backup.sh",
    "/usr/local/bin/theirs",
    "/var/lib/rancher/rke2/theirs",
    "/var/lib/containers/storage/theirs",
)
OF_THE_LAB = (
    "/etc/rancher/k3s/k3s.yaml",
    "/etc/rancher/node/password",
    "/etc/k0s/containerd.d/litelab.toml",
    "/etc/microshift/config.d/lab.yaml",
    "/etc/cni/net.d/10-litelab.conflist",
    "/etc/containerd/certs.d/docker.io/hosts.toml",
    "/etc/crio/crio.conf.d/14-microshift-cni.conf",
    "/etc/kubernetes/pki/ca.crt",
    "/opt/cni/bin/bridge",
    "/usr/local/bin/k3s-killall.sh",
    "/var/lib/kubelet/config.json",
    "/var/lib/rancher/k3s/server/token",
    "/var/lib/k0s/pki/ca.crt",
    "/var/lib/microshift/resources/x",
    "/var/lib/cni/networks/x",
    "/var/lib/etcd/member/snap/db",
    "/var/log/pods/x/0.log",
)
GONE = {
    "k0s": ("/etc/k0s/", "/etc/cni/", "/opt/cni/", "/var/lib/kubelet/", "/var/lib/k0s/", "/var/lib/cni/", "/var/log/pods/"),
    "k3s": ("/etc/rancher/", "/etc/cni/", "/usr/local/bin/k3s-killall.sh", "/var/lib/kubelet/", "/var/lib/rancher/", "/var/lib/cni/", "/var/log/pods/"),
    "microk8s": (),
    "microshift": ("/etc/microshift/", "/etc/crio/", "/var/lib/kubelet/", "/var/lib/microshift/", "/var/lib/cni/", "/var/log/pods/"),
    "upstream": ("/etc/kubernetes/", "/etc/cni/", "/etc/containerd/", "/var/lib/kubelet/", "/var/lib/etcd/", "/var/lib/cni/", "/var/log/pods/"),
}  # fmt: skip
"""Which of the lab's a distribution has put there, and so takes away."""

PROGRAMS = {
    "systemctl": '[ "$1" != -q ]', "pkill": "", "snap": "", "dpkg": "", "dpkg-query": "", "apt-get": "", "swapon": "",
}  # fmt: skip


def on_host(script: str, distribution: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script where ``reset`` is the distribution's, and ``put PATH WHOSE`` writes a file."""
    base = tmp_path / distribution
    for part in ("clusters", distribution):
        shutil.copytree(scripts_of(part), base / "scripts", dirs_exist_ok=True)
    source = (scripts_of("existing") / "inventory.sh").read_text(encoding="utf-8")
    return on_empty_host(
        f"{source}\nreset() {{ {base}/scripts/reset.sh; }}\n{script}", tmp_path, PROGRAMS, base / "bin"
    )


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
class TestResets:
    def test_files_of_the_user_stay_as_they_are_and_the_labs_go(self, distribution: str, tmp_path: Path) -> None:
        script = f"""
for path in {" ".join(f"'{path}'" for path in THEIRS)}; do put "$path" theirs; done
inventory >/var/lib/litelab/before
for path in {" ".join(OF_THE_LAB)}; do put "$path" lab; done
touch /var/lib/litelab/microshift.packages
reset
for path in {" ".join(f"'{path}'" for path in THEIRS)}; do
  [ "$(cat "$path" 2>&1)" = "theirs $path" ] || echo "changed: $path"
done
for path in {" ".join(OF_THE_LAB)}; do [ -e "$path" ] && echo "there: $path"; done
true
"""
        done = on_host(script, distribution, tmp_path)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [line for line in lines if line.startswith("changed")] == []
        left = [line.removeprefix("there: ") for line in lines]
        assert [path for path in left if path.startswith(GONE[distribution])] == [] or not GONE[distribution]

    def test_a_disk_of_its_own_is_emptied_and_stays_mounted(self, distribution: str, tmp_path: Path) -> None:
        folders = (
            "/var/lib/etcd /var/lib/kubelet /var/lib/containerd /var/lib/rancher/k3s /var/lib/k0s /var/lib/microshift"
        )
        script = f"""
for folder in {folders}; do
  mkdir -p "$folder"; mount -t tmpfs none "$folder"; mkdir "$folder/lost+found"
done
inventory >/var/lib/litelab/before
for folder in {folders}; do put "$folder/a/b" lab; mkdir "$folder/pod"; mount -t tmpfs none "$folder/pod"; done
reset
for folder in {folders}; do
  mountpoint -q "$folder" && [ -d "$folder/lost+found" ] || echo "lost: $folder"
  ! mountpoint -q "$folder/pod" && [ ! -e "$folder/a" ] && echo "emptied: $folder"
done
true
"""
        done = on_host(script, distribution, tmp_path)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [line for line in lines if line.startswith("lost")] == []
        own = {
            "k0s": {"/var/lib/k0s", "/var/lib/kubelet"},
            "k3s": {"/var/lib/rancher/k3s", "/var/lib/kubelet"},
            "microk8s": set(),
            "microshift": {"/var/lib/microshift"},
            "upstream": {"/var/lib/etcd", "/var/lib/kubelet", "/var/lib/containerd"},
        }[distribution]
        assert own <= {line.removeprefix("emptied: ") for line in lines}

    def test_links_namespaces_and_rules_of_the_user_stay(self, distribution: str, tmp_path: Path) -> None:
        script = """
ip link add dummy0 type bridge; ip netns add cni-theirs
iptables -t nat -N CNI-theirs; iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -m comment --comment KUBE-theirs -j CNI-theirs
iptables -A FORWARD -s 192.0.2.0/24 -j ACCEPT
inventory >/var/lib/litelab/before
iptables -t nat -N KUBE-LAB; iptables -t nat -A POSTROUTING -j KUBE-LAB
ip link add cni0 type bridge; ip link add kube-bridge type bridge
reset
ip -o link show; ip netns list; iptables-save
"""
        done = on_host(script, distribution, tmp_path)
        assert done.returncode == 0, done.stderr
        for theirs in ("dummy0", "cni-theirs", "-j CNI-theirs", ":CNI-theirs", "-A FORWARD -s 192.0.2.0/24 -j ACCEPT"):
            assert theirs in done.stdout
        assert "KUBE-LAB" not in done.stdout


def test_without_an_inventory_all_is_the_labs(tmp_path: Path) -> None:
    """Hosts that the lab made have none."""
    script = """
for path in /etc/k0s/k0s.yaml /opt/cni/bin/bridge /var/lib/k0s/pki/ca.crt; do put "$path" lab; done
reset
ls -d /etc/k0s /opt/cni /var/lib/k0s 2>/dev/null || true
"""
    done = on_host(script, "k0s", tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
