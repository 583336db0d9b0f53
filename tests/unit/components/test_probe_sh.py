"""What the probe finds on a host, run where a host's folders are stood in for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.steps import SCRIPTS
from tests.unit.components.onhost import NEEDS_ROOT, on_empty_host

pytestmark = NEEDS_ROOT

PROBE = SCRIPTS / "existing" / "probe.sh"
CONFIGURATION = (
    "/etc/rancher/k3s/config.yaml",
    "/etc/rancher/k3s/config.yaml.d/10-theirs.yaml",
    "/etc/rancher/k3s/registries.yaml",
    "/etc/rancher/rke2/config.yaml",
    "/etc/k0s/k0s.yaml",
    "/etc/k0s/containerd.d/theirs.toml",
    "/etc/microshift/config.yaml",
    "/etc/microshift/config.d/theirs.yaml",
    "/etc/microk8s.yaml",
    "/root/snap/microk8s/common/.microk8s.yaml",
    "/etc/cni/net.d/87-theirs.conflist",
    "/etc/cni/theirs",
    "/etc/containerd/config.toml",
    "/etc/containerd/certs.d/docker.io/hosts.toml",
    "/etc/crio/crio.conf.d/50-theirs.conf",
    "/etc/kubernetes/theirs.conf",
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/etc/default/k3s",
    "/etc/systemd/system/kubelet.service.d/theirs.conf",
    "/etc/systemd/system/k0scontroller.service.d/http-proxy.conf",
    "/etc/systemd/system/k3s.service.d/theirs.conf",
    "/usr/local/bin/kubectl",
    "/usr/local/bin/k3s",
)
DATA = (
    "/var/lib/kubelet/config.json",
    "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
    "/var/lib/etcd/member/snap/db",
    "/var/lib/rancher/k3s/server/token",
    "/var/lib/rancher/rke2/x",
    "/var/lib/k0s/pki/ca.crt",
    "/var/lib/microshift/resources/x",
    "/var/lib/cni/networks/x",
    "/opt/cni/bin/bridge",
    "/var/log/pods/x/0.log",
    "/run/flannel/subnet.env",
)
DISKS = (
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/rancher",
    "/var/lib/rancher/k3s",
    "/var/lib/k0s",
)


def carried(script: str, tmp_path: Path) -> list[str]:
    """What hinders a lab on a host that the script has prepared."""
    done = on_empty_host(f"{script}\nbash {PROBE} x-lab-000000@here", tmp_path, {"systemctl": ""}, tmp_path / "bin")
    assert done.returncode == 0, done.stderr
    return re.findall(r"(?m)^carries=(.*)$", done.stdout)


def test_an_empty_host_carries_nothing(tmp_path: Path) -> None:
    assert carried("mkdir -p /etc/cni/net.d /var/lib/kubelet/pods /etc/rancher/k3s", tmp_path) == []


@pytest.mark.parametrize("path", CONFIGURATION)
def test_configuration_of_the_user_is_named_and_can_be_moved_away_and_back(path: str, tmp_path: Path) -> None:
    (found,) = carried(f"put {path} theirs", tmp_path)
    what, _, cure = found.partition("|")
    assert path.rpartition("/")[2] in what
    move = re.search(r"'(mv (\S+) \S+)'", cure)
    assert move
    assert path.startswith(move[2])


@pytest.mark.parametrize("path", CONFIGURATION)
def test_the_named_command_clears_it(path: str, tmp_path: Path) -> None:
    (found,) = carried(f"put {path} theirs", tmp_path / "1")
    move = re.search(r"'(mv \S+ \S+)'", found)
    assert move
    assert carried(f"put {path} theirs; {move[1]}", tmp_path / "2") == []


@pytest.mark.parametrize("path", DATA)
def test_data_is_named(path: str, tmp_path: Path) -> None:
    found = carried(f"put {path} theirs", tmp_path)
    assert len([text for text in found if "files in " in text]) == 1


@pytest.mark.parametrize("disk", DISKS)
class TestDisksOfTheirOwn:
    def test_an_empty_one_is_taken(self, disk: str, tmp_path: Path) -> None:
        assert carried(f"mkdir -p {disk}; mount -t tmpfs none {disk}; mkdir {disk}/lost+found", tmp_path) == []

    def test_one_with_data_is_refused_with_a_command_that_leaves_it_mounted(self, disk: str, tmp_path: Path) -> None:
        mount = f"mkdir -p {disk}; mount -t tmpfs none {disk}; mkdir {disk}/lost+found; put {disk}/a/b theirs"
        found = next(text for text in carried(mount, tmp_path / "1") if "files in" in text)
        assert "rm -rf" not in found
        assert f"leaves {disk} mounted" in found
        clear = re.search(r"'(find .*?)', which", found)
        assert clear
        again = f"{mount}; {clear[1]}; mountpoint -q {disk} && [ -d {disk}/lost+found ] || exit 9"
        assert carried(again, tmp_path / "2") == []


def test_every_place_that_a_reset_clears_is_looked_at(tmp_path: Path) -> None:
    """Else a reset could take along what a user has there."""
    of_resets = set()
    for script in SCRIPTS.glob("*/reset.sh"):
        text = (
            script.read_text(encoding="utf-8")
            .replace("\\\n", " ")
            .replace('"$DATA"', "/var/lib/k0s")
            .replace('"$K0S"', "")
        )
        for line in re.findall(r"(?m)^\s*(?:remove|rm -rf) (.*)$", text):
            of_resets |= {word for word in line.split() if word.startswith("/") and "litelab" not in word}
    expanded = " ".join(
        sorted(of_resets - {"/var/lib/containers", "/run/containers", "/run/containerd", "/var/snap/microk8s"})
    )
    put = f"for path in {expanded}; do case $path in /usr/local/*|*.service|*.env|*.sh) ;; *) put $path/theirs theirs; echo looked=$path ;; esac; done"
    done = on_empty_host(f"{put}\nbash {PROBE} x-lab-000000@here", tmp_path, {"systemctl": ""}, tmp_path / "bin")
    looked = re.findall(r"(?m)^looked=(.*)$", done.stdout)
    assert len(looked) > 15
    carries = "\n".join(re.findall(r"(?m)^carries=(.*)$", done.stdout))
    missed = [
        path
        for path in looked
        if not any(f"in {start} " in carries for start in (path, path.rpartition("/")[0], "/root/snap/microk8s/common"))
    ]
    assert [path for path in missed if path != "/root/snap/microk8s"] == []
