"""Every distribution on hosts that somebody else has lived in: names, networks, logins, disks and files of their own.

Each lab of two hosts comes up, and leaves them as they were. ``upstream`` is real, the others are doubles.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.cases import inventory
from tests.contract.hostsonly import HostsStack
from tests.doubles.hostimage import DOUBLES, LATER, SHARE, double_cache
from tests.lab import distributions, k0slabs, k3slabs, microshift
from tests.lab.lab import LabStack, environment
from tests.lab.test_existing_facts import FISH, PAM
from tests.lab.test_microk8s import STORE

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]

NAMES = {"host-1": "db-7.example.org", "host-2": "x1"}
LOGIN = "first.last"
DISKS = "etcd kubelet rancher k0s microshift"
SHELL = "/usr/local/bin/theirs-shell"
# @NAME@, @NUMBER@ and @PREFIX@ are each host's.
LIVED_IN = f"""
set -e
mkdir -p /usr/local/bin
cat >{SHELL} <<'SHELL'
{FISH}
SHELL
chmod 755 {SHELL}
useradd --badname -m -s {SHELL} -p '*' {LOGIN}
install -d -m 700 -o {LOGIN} -g {LOGIN} /home/{LOGIN}/.ssh
install -m 600 -o {LOGIN} -g {LOGIN} /root/.ssh/authorized_keys /home/{LOGIN}/.ssh/authorized_keys
cat >/etc/sudoers.d/theirs <<'SUDOERS'
{LOGIN} ALL=(ALL) NOPASSWD: ALL
Defaults secure_path=/usr/bin:/bin
Defaults use_pty
Defaults env_keep += "HTTPS_PROXY K3S_URL BASH_ENV"
Defaults umask_override, umask=0077
SUDOERS

echo @NAME@ >/proc/sys/kernel/hostname
echo @NAME@ >/etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 @NAME@\\n::1 localhost\\n' >/etc/hosts
printf 'nameserver 127.0.0.53\\n' >/etc/resolv.conf
mkdir -p /run/systemd/resolve
echo nameserver 192.0.2.53 >/run/systemd/resolve/resolv.conf

printf 'HTTPS_PROXY=http://127.0.0.1:9\\nhttps_proxy=http://127.0.0.1:9\\nBASH_ENV=/etc/theirs.sh\\nLANG=de_DE.UTF-8\\nK3S_URL=https://192.0.2.1:6443\\n' >>/etc/environment
echo 'echo Welcome to @NAME@; umask 077' >/etc/theirs.sh
printf 'session optional pam_umask.so umask=0077\\n' | tee -a /etc/pam.d/sshd >>/etc/pam.d/sudo
{PAM}

ip link add other0 type bridge
ip addr add 192.168.77.@NUMBER@/24 dev other0
ip link set other0 up
ip route add @PREFIX@.128/25 via @PREFIX@.1
ip route replace default via 192.168.77.254 dev other0

for disk in {DISKS}; do
  mkdir -p /var/lib/$disk
  mountpoint -q /var/lib/$disk || mount -t tmpfs -o size=900m none /var/lib/$disk
  mkdir -p /var/lib/$disk/lost+found
done
mount -t tmpfs -o noexec none /tmp
snap list >/dev/null 2>&1 || true
mkdir -p /etc/rancher /opt/theirs /snap
touch /var/log/dpkg.log
echo theirs | tee /opt/theirs/file /usr/local/bin/theirs >/etc/sysctl.d/99-theirs.conf.off
iptables -A FORWARD -s 192.0.2.0/24 -m comment --comment "the user's own" -j ACCEPT
"""


def upstream(_: Path) -> LabStack:
    return LabStack("lived-in", {})


def k3s(folder: Path) -> LabStack:
    return k3slabs.lab_of(k3slabs.find_vendor(folder), "lived-in", folder)


def k0s(folder: Path) -> LabStack:
    return k0slabs.lab_of(k0slabs.find_vendor(folder), "lived-in", folder)


def microk8s(_: Path) -> LabStack:
    return LabStack("lived-in", {}, lab="microk8s-lab")


def of_microshift(folder: Path) -> LabStack:
    return microshift.stack("lived-in", microshift.vendor(folder), folder / "cache", topology="fleet")


# A controller of k0s is no node, and a host of a fleet is a cluster of its own.
NODES = {"k0s": ("host-2",), "microshift": ("host-1",)}
LABS: dict[str, Callable[[Path], LabStack]] = {
    "upstream": upstream, "k3s": k3s, "k0s": k0s, "microk8s": microk8s, "microshift": of_microshift,
}  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostsStack]:
    """Two nspawn hosts whose image has the doubles, lived in."""
    env = environment()
    share = DOUBLES / "microshift" / "root" / SHARE / "microshift"
    cache = double_cache(
        Path(env["LITELAB_CACHE"]), tmp_path_factory.mktemp("cache"), "microk8s", store=STORE, releases=(LATER,),
        more={str(SHARE / "microshift" / path.name): path.read_text() for path in share.iterdir()},
    )  # fmt: skip
    stack = HostsStack(
        "lived-in-ground", {"kind": "nspawn", "cpus": 2, "memoryMib": 2048}, ("controller", "worker"),
        {**env, "LITELAB_CACHE": str(cache), "PYTHONPATH": HostsStack("", {}).env["PYTHONPATH"]},
    )  # fmt: skip
    try:
        stack.prepare()
        stack.up()
        for number, host in enumerate(stack.hosts, start=1):
            words = {
                "@NAME@": NAMES[host["name"]],
                "@NUMBER@": str(number),
                "@PREFIX@": host["address"].rpartition(".")[0],
            }
            script = LIVED_IN
            for word, value in words.items():
                script = script.replace(word, value)
            stack.by_root(host["name"], script)
        yield stack
    finally:
        stack.close()


def settings(ground: HostsStack) -> dict[str, str]:
    found = {
        "hosts.kind": "existing",
        "hosts.user": LOGIN,
        "hosts.key": str(ground.run_folder / "id_ed25519"),
        "hosts.memoryMib": "2048",
        "workers": "1",
        "workloads": "[]",
    }
    for number, host in enumerate(ground.hosts):
        found[f"hosts.addresses[{number}]"] = host["address"]
        found[f"hosts.hostKeys[{number}]"] = f"{host['address']} {host['hostKey']}"
    return found


def inventories(ground: HostsStack) -> dict[str, set[str]]:
    """Of each host, without what doubles use for themselves."""
    found = inventory(ground, tuple(NAMES))
    return {name: {line for line in lines if "litelab-double" not in line} for name, lines in found.items()}


@pytest.mark.parametrize("distribution", LABS)
def test_a_lab_comes_up_and_leaves_the_hosts_as_they_were(
    ground: HostsStack, distribution: str, tmp_path: Path
) -> None:
    made = LABS[distribution](tmp_path)
    kept = {
        key: value
        for key, value in made.settings.items()
        if not key.startswith("hosts.") and key not in {"workloads", "repeats"}
    }
    lab = LabStack(made.name, {**kept, **settings(ground)}, made.env, made.lab)
    before = inventories(ground)
    with lab.standing(distributions.UP_S):
        nodes = {
            node["metadata"]["name"]: (
                [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"],
                next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"),
            )
            for node in lab.get("nodes")["items"]
        }
        own = distribution == "microk8s"
        assert nodes == {
            NAMES[host["name"]] if own else host["name"]: ([host["address"]], "True")
            for host in ground.hosts
            if host["name"] in NODES.get(distribution, NAMES)
        }
        lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
        shown = lab.pulumi("destroy", "--yes", "--skip-preview").stdout
    after = inventories(ground)
    for name in NAMES:
        assert " ".join(sorted(after[name] - before[name])) == ""
        assert " ".join(sorted(before[name] - after[name])) == ""
        assert f"{name}: as it was" in shown or "litelab-double" in shown
