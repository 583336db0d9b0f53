"""What every kind of hosts promises to a cluster and to a person, seen on real hosts of each.

The tests of a kind run in the order of this file; its hosts' end comes last.
"""

from __future__ import annotations

import itertools
import json
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Made

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

FACTS = (
    "sha256sum </etc/os-release; uname -r; uname -m; grep -c ^processor /proc/cpuinfo; sed -n 's/^model name//p' /proc/cpuinfo | sort -u; "
    "awk '/MemTotal/ { print $2 }' /proc/meminfo; dpkg-query -W 2>/dev/null | sha256sum; cat /proc/1/comm; "
    "stat -f -c %T /var/lib; ls /sys/fs/cgroup | sort | tr '\\n' ' '"
)
TCP_PORTS = (6443, 2379, 2380, 10250, 30000, 31234, 32767)
"""API server, etcd, kubelet, and of the ports of services the first, one and the last."""
UDP_PORT = 8472
"""flannel's VXLAN."""

LISTEN = """
set -euo pipefail
rm -f /run/contract.datagram
systemd-run -q --collect --unit=contract-tcp -p RuntimeMaxSec=120 systemd-socket-activate --accept --inetd {tcp} /bin/echo {word}
systemd-run -q --collect --unit=contract-udp -p RuntimeMaxSec=120 systemd-socket-activate --datagram -l {udp} \
  /bin/sh -c 'while dd bs=64 count=1 status=none <&3 >>/run/contract.datagram; do :; done'
for port in {ports}; do
  for _ in $(seq 100); do ss -Htln "sport = :$port" | grep -q . && break; sleep 0.1; done
  ss -Htln "sport = :$port" | grep -q . || {{ echo "nothing listens on $port"; exit 1; }}
done
for _ in $(seq 100); do ss -Huln "sport = :{udp}" | grep -q . && break; sleep 0.1; done
"""
CALL = """
for port in {ports}; do
  answer=$(timeout 5 bash -c "exec 3<>/dev/tcp/{address}/$port; head -n 1 <&3" 2>&1)
  [ "$answer" = {word} ] || echo "tcp $port: ${{answer:-no answer}}"
done
echo {caller} >/dev/udp/{address}/{udp}
"""
HEARD = "for _ in $(seq 50); do [ $(wc -l </run/contract.datagram) -lt {callers} ] || break; sleep 0.1; done; cat /run/contract.datagram"
HUSH = "systemctl stop contract-tcp contract-udp 2>/dev/null; rm -f /run/contract.datagram; true"


@pytest.fixture
def listening(made: Made) -> Iterator[None]:
    """On every host, something that answers on each port with the host's name."""
    tcp = " ".join(f"-l {port}" for port in TCP_PORTS)
    try:
        for name in made.names:
            ports = " ".join(map(str, TCP_PORTS))
            made.stack.by_root(name, LISTEN.format(tcp=tcp, udp=UDP_PORT, word=name, ports=ports))
        yield
    finally:
        for name in made.names:
            made.stack.by_root(name, HUSH, check=False)


def effective(made: Made, name: str) -> dict[str, str]:
    """What ssh makes of the configuration for a host."""
    words = ["ssh", "-T", "-G", "-F", str(made.stack.run_folder / "ssh_config"), name]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout
    return dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)


class TestHosts:
    def test_there_is_one_for_each_role_in_order(self, made: Made) -> None:
        shown = [(host["name"], host["role"]) for host in made.stack.hosts]
        assert shown == [("host-1", "controller"), ("host-2", "worker"), ("host-3", "worker")]

    def test_they_are_alike(self, made: Made) -> None:
        facts = {name: made.stack.by_root(name, FACTS) for name in made.names}
        assert len(facts["host-1"].splitlines()) == 10, facts
        assert len(set(facts.values())) == 1, facts

    def test_they_are_machines_of_their_own(self, made: Made) -> None:
        for command in ("cat /etc/machine-id", "hostname", "cat /etc/ssh/ssh_host_ed25519_key"):
            assert len({made.stack.by_root(name, command) for name in made.names}) == 3, command

    def test_systemd_runs_and_nothing_of_it_has_failed(self, made: Made) -> None:
        for name in made.names:
            state = "timeout 60 systemctl is-system-running --wait; systemctl --failed --no-legend"
            assert made.stack.by_root(name, state, check=False) == "running\n", name

    def test_they_have_what_was_asked_for(self, made: Made) -> None:
        settings = made.stack.settings
        for name in made.names:
            cpus, memory_kib = made.stack.by_root(
                name, "grep -c ^processor /proc/cpuinfo; awk '/MemTotal/ { print $2 }' /proc/meminfo"
            ).split()
            assert int(cpus) >= settings["cpus"]
            assert int(memory_kib) / 1024 >= settings["memoryMib"] * 0.9

    def test_each_has_its_address_and_knows_its_name_in_the_lab(self, made: Made) -> None:
        for host in made.stack.hosts:
            shown = made.stack.by_root(host["name"], "ip -o -4 addr show scope global | awk '{ print $4 }'")
            assert host["address"] in {word.partition("/")[0] for word in shown.split()}
            named = made.stack.by_root(host["name"], "cat /var/lib/litelab/name 2>/dev/null || hostname")
            assert named.strip() == host["name"]

    def test_their_clocks_are_this_machines(self, made: Made) -> None:
        for name in made.names:
            before = time.time()
            there = int(made.stack.ssh(name, "date +%s%N").stdout) / 1e9
            assert before - 1 <= there <= time.time() + 1, name

    def test_a_second_up_changes_nothing(self, made: Made) -> None:
        made.stack.up("--expect-no-changes")


class TestAccess:
    def test_a_step_can_be_root(self, made: Made) -> None:
        assert {made.stack.by_root(name, "id -u").strip() for name in made.names} == {"0"}

    def test_ssh_checks_host_keys_asks_nothing_and_lends_no_agent(self, made: Made) -> None:
        for name in made.names:
            shown = effective(made, name)
            expected = {
                "stricthostkeychecking": "true", "batchmode": "yes", "identitiesonly": "yes", "forwardagent": "no",
                "identityagent": "none", "globalknownhostsfile": "/dev/null",
            }  # fmt: skip
            assert {key: shown[key] for key in expected} == expected

    def test_the_key_that_logs_in_is_its_owners_alone(self, made: Made) -> None:
        key = Path(effective(made, "host-1")["identityfile"])
        assert stat.S_IMODE(key.stat().st_mode) == 0o600

    def test_ssh_is_told_the_key_that_the_host_shows(self, made: Made) -> None:
        for host in made.stack.hosts:
            words = ["ssh-keyscan", "-T", "10", "-t", "ed25519", "-p", str(host["port"]), host["address"]]
            shown = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout
            assert host["hostKey"] in [" ".join(line.split()[1:3]) for line in shown.splitlines()]

    def test_a_host_that_shows_another_key_is_not_talked_to(self, made: Made, tmp_path: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
        other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
        known = (made.stack.run_folder / "known_hosts").read_text().splitlines()
        (tmp_path / "known_hosts").write_text("".join(f"{line.split()[0]} {other}\n" for line in known))
        tried = made.stack.ssh("host-1", "true", "-o", f"UserKnownHostsFile={tmp_path / 'known_hosts'}", check=False)
        assert tried.returncode == 255
        assert "verification failed" in tried.stderr
        assert made.stack.ssh("host-1", "true").returncode == 0


class TestNetwork:
    @pytest.mark.usefixtures("listening")
    def test_between_hosts_every_port_that_a_cluster_needs_is_open(self, made: Made) -> None:
        ports = " ".join(map(str, TCP_PORTS))
        for here, there in itertools.permutations(made.stack.hosts, 2):
            call = CALL.format(
                ports=ports, address=there["address"], word=there["name"], caller=here["name"], udp=UDP_PORT
            )
            assert made.stack.by_root(here["name"], call) == "", f"{here['name']} to {there['name']}"
        for name in made.names:
            heard = made.stack.by_root(name, HEARD.format(callers=len(made.names) - 1))
            assert set(heard.split()) == set(made.names) - {name}

    def test_nothing_but_ssh_listens_on_a_fresh_host(self, made: Made) -> None:
        for host in made.stack.hosts:
            shown = made.stack.by_root(host["name"], "ss -Htuln | awk '{ print $5 }'").split()
            ports = {int(word.rpartition(":")[2]) for word in shown if not word.startswith(("127.", "[::1]"))}
            assert ports == {host["port"]}, host["name"]

    @pytest.mark.usefixtures("listening")
    def test_the_operator_reaches_hosts_and_who_comes_from_elsewhere_does_not(self, made: Made) -> None:
        links = json.loads(
            subprocess.run(["ip", "-json", "-4", "addr"], capture_output=True, text=True, check=True).stdout
        )
        used = made.stack.ssh("host-1", "echo $SSH_CONNECTION").stdout.split()[0]
        others = [
            a["local"] for link in links for a in link["addr_info"] if a["scope"] == "global" and a["local"] != used
        ]
        if not others:
            pytest.skip("this machine has no other address to come from")
        there = made.stack.hosts[0]["address"]
        for port in (22, 6443):
            with socket.create_connection((there, port), 5):
                pass
            with pytest.raises(OSError):
                socket.create_connection((there, port), 2, source_address=(others[0], 0)).close()


class TestEnd:
    def test_destroy_leaves_nothing_and_takes_nothing_that_was_there(self, made: Made) -> None:
        marks = made.case.traces(made.stack, made.ground)
        assert marks, "there is no trace of hosts that stand, so none could be found of those that are gone"
        made.stack.destroy()
        assert made.case.traces(made.stack, made.ground) == {}
        after = made.case.untouched(made.ground)
        for name, things in made.untouched_before.items():
            assert sorted(after[name] - things) == []
            assert sorted(things - after[name]) == []

    def test_nothing_that_opens_hosts_is_left_in_the_run_folder(self, made: Made) -> None:
        left = {
            path.name
            for path in made.stack.run_folder.rglob("*")
            if path.is_file() and not path.parent.name.startswith(made.kind + "-")
        }
        assert not {name for name in left if name.startswith(("id_", "ssh_config", "known_hosts", "lab.", "host-"))} - {
            f"{name}.{when}" for name in made.names for when in ("before", "after")
        }

    def test_destroying_again_is_no_error(self, made: Made) -> None:
        made.stack.destroy()
