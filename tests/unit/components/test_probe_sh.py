"""What the probe finds on a host, run where a host's folders are stood in for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.steps.scripts import COMPONENTS, scripts_of
from tests.unit.components.onhost import NEEDS_ROOT, on_empty_host

pytestmark = NEEDS_ROOT

PROBE = scripts_of("existing") / "probe.sh"
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


def test_configuration_of_the_user_is_named_and_the_named_command_moves_it_away(tmp_path: Path) -> None:
    put = "".join(f"put {path} theirs\n" for path in CONFIGURATION)
    found = carried(put, tmp_path / "1")
    moves = [re.search(r"\|move it away, '(mv (\S+) \S+)'", text) for text in found]
    starts = [move[2] for move in moves if move]
    assert [path for path in CONFIGURATION if not path.startswith(tuple(starts))] == []
    assert len(starts) == len(found)
    assert "config.yaml.d/10-theirs.yaml" in "".join(found)
    assert carried(put + "".join(f"{move[1]}\n" for move in moves if move), tmp_path / "2") == []


def test_data_is_named(tmp_path: Path) -> None:
    found = "".join(carried("".join(f"put {path} theirs\n" for path in DATA), tmp_path))
    assert [path for path in DATA if not any(f"files in {start} (" in found for start in parents(path))] == []


def parents(path: str) -> list[str]:
    """All folders above a path."""
    return [str(parent) for parent in Path(path).parents]


def test_disks_of_their_own_are_taken_empty_and_else_refused_with_a_command_that_leaves_them_mounted(
    tmp_path: Path,
) -> None:
    mount = "".join(f"mkdir -p {disk}; mount -t tmpfs none {disk}; mkdir {disk}/lost+found\n" for disk in DISKS)
    assert carried(mount, tmp_path / "1") == []
    mount += "".join(f"put {disk}/a/b theirs\n" for disk in DISKS)
    found = [text for text in carried(mount, tmp_path / "2") if "files in" in text]
    assert [disk for disk in DISKS if not re.search(rf"leaves .*{disk}\b.* mounted", "\n".join(found))] == []
    assert "rm -rf" not in "".join(found)
    clears = [re.search(r"'(find .*?)', which", text) for text in found]
    again = mount + "".join(f"{clear[1]}\n" for clear in clears if clear)
    again += "".join(f"mountpoint -q {disk} && [ -d {disk}/lost+found ]\n" for disk in DISKS)
    assert carried(again, tmp_path / "3") == []


def test_places_that_are_read_only_or_noexec_are_told(tmp_path: Path) -> None:
    script = "mount -o remount,ro /opt; mount -o remount,noexec /usr/local; mount -t tmpfs -o ro none /var/log\n"
    done = on_empty_host(f"{script}bash {PROBE} x", tmp_path, {"systemctl": ""}, tmp_path / "bin")
    assert re.findall(r"(?m)^readOnly=(.*)$", done.stdout) == ["/opt", "/var/log"]
    assert re.findall(r"(?m)^noexec=(.*)$", done.stdout) == ["/usr/local/bin"]


@pytest.mark.parametrize(
    ("lists", "upstream", "file"),
    [
        ({"/etc/resolv.conf": "192.0.2.1"}, [], "/etc/resolv.conf"),
        ({"/etc/resolv.conf": "127.0.0.53"}, [], "/etc/resolv.conf"),
        ({"/etc/resolv.conf": "127.0.0.53", "/run/systemd/resolve/resolv.conf": "192.0.2.1"}, ["192.0.2.1"], "/run/systemd/resolve/resolv.conf"),
        ({"/etc/resolv.conf": "127.0.0.1", "/run/NetworkManager/no-stub-resolv.conf": "192.0.2.2"}, ["192.0.2.2"], "/run/NetworkManager/no-stub-resolv.conf"),
        ({"/etc/resolv.conf": "::1", "/run/systemd/resolve/resolv.conf": "127.0.0.1"}, [], "/etc/resolv.conf"),
    ],
)  # fmt: skip
def test_a_step_takes_the_resolvers_that_the_probe_has_found(
    tmp_path: Path, lists: dict[str, str], upstream: list[str], file: str
) -> None:
    script = "".join(
        f"mkdir -p $(dirname {path}); echo nameserver {address} >{path}\n" for path, address in lists.items()
    )
    script += f". {scripts_of('clusters')}/step.sh; echo file=$(resolver_file); bash {PROBE} x\n"
    done = on_empty_host(script, tmp_path, {"systemctl": ""}, tmp_path / "bin")
    assert re.findall(r"(?m)^upstreamResolver=(.*)$", done.stdout) == upstream, done.stderr
    assert f"file={file}\n" in done.stdout


def test_every_place_that_a_reset_clears_is_looked_at(tmp_path: Path) -> None:
    """Else a reset could take along what a user has there."""
    of_resets = set()
    for script in COMPONENTS.glob("**/scripts/reset.sh"):
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
