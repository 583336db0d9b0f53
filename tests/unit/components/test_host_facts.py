"""What is made of a host's own words: refusals with their fix, and whether hosts are alike."""

from __future__ import annotations

import importlib.util
import io
import ipaddress
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from components.config import discovery
from components.hosts.existing import component as existing
from components.steps.scripts import scripts_of

FOLDER = scripts_of("existing")
OWN = "x-lab-abc123@here"
GOOD = {
    "os": "Debian", "kernel": "6.1", "architecture": "x86_64", "cpuModel": "A", "cpus": "2", "memoryMib": "1990", "diskMib": "10000",
    "diskFreeMib": "9000", "fileSystem": "ext4", "virtualization": "kvm", "init": "systemd", "systemd": "252", "swapMib": "0", "hostname": "metal-7", "glibc": "9.9",
    "cgroups": "v2", "controllers": "cpuset cpu io memory pids", "machineId": "aaaa", "lab": "",
}  # fmt: skip


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"litelab_existing_{name}", FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


facts, alike = _load("facts"), _load("alike")


def hinders(*more: str, clock_s: float = 0.0, use: dict[str, Any] | None = None, **values: str) -> str:
    """Why a host that says this of itself is refused, for a distribution; empty when it is not."""
    lines = [f"{key}={value}" for key, value in {**GOOD, **values}.items()] + ["address=192.0.2.11", *more]
    lines.append(f"clockNs={int((1000.0 + clock_s) * 1e9)}")
    said = facts.parse((line + "\n", 1000.0) for line in lines)
    return "; ".join(facts.problems(said, OWN, "192.0.2.11", 2, 2048, "x86_64", use))


def use_of(distribution: str, *, internet: bool = False) -> dict[str, Any]:
    """What hosts of a lab of a distribution are for."""
    return existing.use_of(distribution, internet=internet)


class TestRefusals:
    def test_a_good_host_is_not_refused(self) -> None:
        assert hinders() == ""

    @pytest.mark.parametrize(
        ("values", "word"),
        [
            ({"init": "init"}, "systemd"),
            ({"architecture": "aarch64"}, "builds for x86_64"),
            ({"cpus": "1"}, "hosts.cpus asks for 2"),
            ({"memoryMib": "1800"}, "hosts.memoryMib asks for 2048"),
            ({"diskFreeMib": "100"}, "100 MiB are free"),
            ({"controllers": "cpu pids"}, "cgroup_enable=memory"),
        ],
    )
    def test_what_a_host_lacks_is_said_with_its_cure(self, values: dict[str, str], word: str) -> None:
        assert word in hinders(*(f"{key}={value}" for key, value in values.items()))

    @pytest.mark.parametrize("seconds", [40, -40])
    def test_a_clock_that_is_off_is_said_with_the_way_it_goes(self, seconds: int) -> None:
        message = hinders(clock_s=seconds)
        assert f"40 s {'ahead of' if seconds > 0 else 'behind'} this machine's" in message
        assert "timedatectl set-ntp true" in message

    def test_another_kubernetes_is_named_with_the_command_that_clears_it(self) -> None:
        message = hinders("carries=K3s|/usr/local/bin/k3s-uninstall.sh", "carries=k0s|k0s stop; k0s reset")
        assert "it carries K3s; to clear it, as root on the host: /usr/local/bin/k3s-uninstall.sh" in message
        assert "k0s reset" in message

    def test_what_the_lab_itself_installed_hinders_nothing(self) -> None:
        assert hinders("carries=files in /etc/kubernetes|rm", lab=OWN, diskFreeMib="100") == ""

    def test_a_host_of_another_lab_is_refused(self) -> None:
        assert "the lab other-lab-123456@there uses it" in hinders(lab="other-lab-123456@there")

    def test_an_address_that_is_not_the_hosts_own_is_refused(self) -> None:
        lines = [*(f"{k}={v}" for k, v in GOOD.items()), "address=10.0.0.5", "clockNs=1000000000000"]
        said = facts.parse((line, 1000.0) for line in lines)
        found = facts.problems(said, OWN, "192.0.2.11", 1, 1024, "x86_64")
        assert "none of its own addresses (10.0.0.5) is 192.0.2.11" in found[0]

    @pytest.mark.parametrize(
        ("said", "word"),
        [
            ("Host key verification failed.", "hosts.hostKeys"),
            ("op@h: Permission denied (publickey).", "authorized_keys"),
            ("ssh: connect to host h port 22: Connection timed out", "nothing answers there"),
            ("ssh: Could not resolve hostname h: Name or service not known", "nothing answers there"),
            ("something else", "ssh failed: something else"),
        ],
    )
    def test_sshs_own_words_get_a_meaning(self, said: str, word: str) -> None:
        where = {"host": "h", "port": "22", "user": "op", "key": "/k"}
        assert word in facts.explain(said, where)


class TestRecord:
    ENVIRONMENT = {"ADDRESS": "192.0.2.7:2222", "LOGIN": "user@corp.example", "KEY": "/k"}  # noqa: RUF012

    def test_a_host_is_recorded_as_it_is_reached(self) -> None:
        assert facts.record(self.ENVIRONMENT, "a K\nb K\n") == [
            ("Address", "192.0.2.7"), ("Port", "2222"), ("User", "user@corp.example"), ("Identity", "/k"), ("Known", "a K"), ("Known", "b K"),
        ]  # fmt: skip

    def test_a_bastion_and_an_agent_are_in_it(self) -> None:
        more = {"AGENT": "yes", "JUMP_ADDRESS": "jump:22", "JUMP_LOGIN": "me", "JUMP_KEY": ""}
        made = facts.record({**self.ENVIRONMENT, "KEY": "", **more}, "a K\n---\njump K2\n")
        assert made[3:] == [
            ("Agent", "yes"), ("Known", "a K"),
            ("JumpAddress", "jump"), ("JumpPort", "22"), ("JumpUser", "me"), ("JumpAgent", "yes"), ("JumpKnown", "jump K2"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("said", "words"),
        [
            ("me@jump: Permission denied (publickey).\r\nConnection closed by UNKNOWN port 65535", "the bastion jump:22: refuses the user me"),
            ("Host key verification failed.\nConnection closed by UNKNOWN port 65535", "hosts.bastion.hostKeys"),
            ("channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed", "the bastion jump:22 lets nobody through"),
            ("channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed", "the bastion jump:22 does not reach it"),
            ("op@h: Permission denied (publickey).", "it refuses the user op"),
        ],
    )  # fmt: skip
    def test_who_refused_is_told(self, said: str, words: str) -> None:
        where = {
            "host": "h", "port": "22", "user": "op", "key": "/k", "jump": "jump:22", "jump_host": "jump", "jump_port": "22",
            "jump_user": "me", "jump_key": "/j",
        }  # fmt: skip
        assert words in facts.explain(said, where)


@pytest.fixture(autouse=True)
def _no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache without programs that could be copied."""
    monkeypatch.setenv("LITELAB_CACHE", str(tmp_path / "cache"))


class TestSwap:
    def test_a_host_that_swaps_is_taken(self) -> None:
        assert hinders(swapMib="2000") == ""


class TestPlacesAndPrograms:
    @pytest.mark.parametrize("place", ["/usr/local/bin", "/opt", "/etc", "/etc/systemd/system", "/var/lib"])
    def test_a_read_only_place_is_named(self, place: str) -> None:
        assert f"{place} can't be written there" in hinders(f"readOnly={place}")

    @pytest.mark.parametrize("place", ["/usr/local/bin", "/opt", "/var/lib"])
    def test_a_place_where_nothing_may_be_started_is_named(self, place: str) -> None:
        message = hinders(f"noexec={place}")
        assert f"{place} is mounted noexec" in message
        assert "remount,exec" in message

    def test_programs_that_are_missing_are_named_together(self) -> None:
        assert "it lacks iptables, snap: install" in hinders("missing=iptables", "missing=snap")


class TestNetworks:
    @pytest.mark.parametrize("distribution", discovery.distributions())
    @pytest.mark.parametrize("whose", ["pods", "services"])
    @pytest.mark.parametrize("kind", ["address", "route", "resolver"])
    def test_what_is_in_a_distributions_network_is_named_with_it(
        self, distribution: str, whose: str, kind: str
    ) -> None:
        use = use_of(distribution)
        network = ipaddress.IPv4Network(use[whose])
        inside = {
            "address": str(network[5]),
            "resolver": str(network[5]),
            "route": str(next(network.subnets(new_prefix=max(24, network.prefixlen)))),
        }[kind]
        message = hinders(f"{kind}={inside}", "upstreamResolver=192.0.2.1", use=use)
        assert f"its {kind} {inside} is in {network}, the network of {distribution}'s {whose}" in message

    @pytest.mark.parametrize("distribution", discovery.distributions())
    @pytest.mark.parametrize(
        "route", ["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "192.0.2.0/24", "172.16.0.0/12", "fe80::/64"]
    )
    def test_a_wider_route_or_another_one_is_no_hindrance(self, distribution: str, route: str) -> None:
        assert hinders(f"route={route}", use=use_of(distribution)) == ""

    @pytest.mark.parametrize("distribution", discovery.distributions())
    def test_the_labs_own_links_and_routes_hinder_nothing(self, distribution: str) -> None:
        use = use_of(distribution)
        inside = str(ipaddress.IPv4Network(use["pods"])[1])
        assert hinders(f"address={inside}", f"route={use['pods']}", use=use, lab=OWN) == ""


class TestResolvers:
    @pytest.mark.parametrize("distribution", discovery.distributions())
    @pytest.mark.parametrize("stub", ["127.0.0.53", "127.0.0.1", "::1"])
    def test_a_stub_is_refused_unless_what_stands_behind_it_is_known(self, distribution: str, stub: str) -> None:
        use = use_of(distribution, internet=True)
        assert f"names {stub}, a resolver on its own loopback" in hinders(f"resolver={stub}", use=use)
        assert hinders(f"resolver={stub}", "upstreamResolver=192.0.2.1", use=use) == ""

    def test_without_internet_upstreams_dns_asks_nobody(self) -> None:
        assert hinders("resolver=127.0.0.53", use=use_of("upstream")) == ""
        assert "its own loopback" in hinders("resolver=127.0.0.53", use=use_of("k0s"))

    def test_with_internet_there_must_be_one(self) -> None:
        assert "names no resolver" in hinders(use=use_of("upstream", internet=True))


class TestNames:
    @pytest.mark.parametrize("name", ["metal-7", "node-b.corp.example", "7"])
    def test_names_that_nodes_can_have_are_taken(self, name: str) -> None:
        assert hinders(use=use_of("microk8s"), hostname=name) == ""

    @pytest.mark.parametrize("name", ["Metal-7", "node_b", "-x", "a..b", ""])
    def test_others_are_refused_where_nodes_have_the_hosts_names(self, name: str) -> None:
        assert "hostnamectl set-hostname" in hinders(use=use_of("microk8s"), hostname=name)

    @pytest.mark.parametrize("name", ["Metal-7", "node_b"])
    @pytest.mark.parametrize("distribution", ["upstream", "k0s", "k3s", "microshift"])
    def test_elsewhere_the_lab_gives_nodes_their_names(self, distribution: str, name: str) -> None:
        assert hinders(use=use_of(distribution), hostname=name, glibc="99.9") == ""


class TestCLibrary:
    @pytest.fixture
    def needed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Programs of this machine: a dynamic one, and a static one that only has the text in it."""
        monkeypatch.setenv("LITELAB_CACHE", str(tmp_path))
        (tmp_path / "artifacts/upstream-v1/bin").mkdir(parents=True)
        head = b"\x7fELF" + b"\0" * 60
        dynamic = head + b"/lib64/ld-linux-x86-64.so.2\0" + b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0"
        (tmp_path / "artifacts/upstream-v1/bin/containerd").write_bytes(dynamic)
        (tmp_path / "artifacts/upstream-v1/bin/kubernetes").write_bytes(head + b"\0GLIBC_2.99\0")

    @pytest.mark.usefixtures("needed")
    @pytest.mark.parametrize("has", ["2.31", "2.28", "2.9", ""])
    def test_an_older_one_than_copied_programs_need_is_refused_with_both(self, has: str) -> None:
        message = hinders(use=use_of("upstream"), glibc=has)
        assert f"its C library is {f'glibc {has}' if has else 'not glibc'}" in message
        assert "need glibc 2.34" in message

    @pytest.mark.usefixtures("needed")
    @pytest.mark.parametrize("has", ["2.34", "2.36", "2.100", "3.0"])
    def test_one_that_is_new_enough_is_taken(self, has: str) -> None:
        assert hinders(use=use_of("upstream"), glibc=has) == ""

    @pytest.mark.usefixtures("needed")
    @pytest.mark.parametrize("distribution", ["k0s", "k3s", "microk8s", "microshift"])
    def test_distributions_that_bring_their_programs_ask_for_none(self, distribution: str) -> None:
        assert hinders(use=use_of(distribution), glibc="2.17") == ""


class TestSudo:
    @pytest.mark.parametrize(
        ("said", "fix"),
        [
            ("sudo: a password is required", "NOPASSWD"),
            ("sudo: a terminal is required to read the password", "NOPASSWD"),
            ("sudo: sorry, you must have a tty to run sudo", "!requiretty"),
            ("op is not in the sudoers file.  This incident will be reported.", "has no right to sudo"),
            ("Sorry, user op may not run sudo on metal-7.", "has no right to sudo"),
            ("Sorry, user op is not allowed to execute '/bin/true' as root on metal-7.", "has no right to sudo"),
            ("sudo: account validation failure, is your account locked?", "usermod -U"),
            ("sudo: Account or password is expired, reset your password and try again", "chage"),
            ("bash: line 1: sudo: command not found", "apt-get install sudo"),
            ("sh: 1: sudo: not found", "apt-get install sudo"),
            ("fish: Unknown command: sudo", "apt-get install sudo"),
            (
                "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid' option set",
                "setuid root",
            ),
            ('sudo: The "no new privileges" flag is set, which prevents sudo from running as root.', "setuid root"),
            ("/etc/sudoers.d/x:1:7: syntax error", "visudo -c"),
            ("sudo: /etc/sudoers is world writable", "visudo -c"),
            ("something new", "NOPASSWD"),
        ],
    )
    def test_its_own_words_are_there_with_their_cure(self, said: str, fix: str) -> None:
        message = facts.explain_sudo(said, {"user": "op"})
        assert fix in message
        assert "sudo said: " + " ".join(said.split()).rstrip(".") in message


class TestAlike:
    def check(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        *changes: dict[str, Any],
        allow: str = "false",
    ) -> tuple[int, str, str]:
        base = {**GOOD, "cpus": 2, "memoryMib": 1990, "diskMib": 10000, "swapMib": 0}
        hosts = {f"host-{n}": {**base, "machineId": f"id-{n}", **change} for n, change in enumerate(changes, start=1)}
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(hosts)))
        monkeypatch.setenv("ALLOW_DIFFERENT", allow)
        code = alike.main(["create"])
        out, err = capsys.readouterr()
        return code, out, err

    def test_hosts_of_one_make_are_alike(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, _ = self.check(monkeypatch, capsys, {}, {"memoryMib": 1985}, {"diskMib": 10100})
        assert code == 0
        assert json.loads(out) == {
            "cpus": 2, "memoryMib": 1985, "swapMib": 0, "cgroups": "v2", "alike": True, "differences": [],
        }  # fmt: skip

    @pytest.mark.parametrize(
        "change",
        [
            {"kernel": "6.2"},
            {"cpuModel": "B"},
            {"cpus": 4},
            {"memoryMib": 4000},
            {"cgroups": "v1"},
            {"diskMib": 20000},
            {"swapMib": 4096},
        ],
    )
    def test_hosts_that_differ_are_refused_unless_allowed_and_then_marked(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
    ) -> None:
        key = next(iter(change))
        code, out, err = self.check(monkeypatch, capsys, {}, {}, change)
        assert (code, out) == (1, "")
        assert f"{key}: host-1 " in err
        assert "hosts.allowDifferent" in err
        code, out, err = self.check(monkeypatch, capsys, {}, {}, change, allow="true")
        assert (code, err) == (0, "")
        told = json.loads(out)
        assert told["alike"] is False
        assert [text.partition(":")[0] for text in told["differences"]] == [key]

    def test_one_machine_by_two_addresses_is_refused_even_if_allowed(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = self.check(monkeypatch, capsys, {"machineId": "a"}, {"machineId": "a"}, allow="true")
        assert code == 1
        assert "host-1 and host-2 have one machine id" in err

    def test_hosts_of_one_name_are_refused_where_nodes_have_the_hosts_names(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("OWN_NAMES", "true")
        same = {"hostname": "localhost"}
        code, _, err = self.check(monkeypatch, capsys, same, {"hostname": "x1"}, {"hostname": "LocalHost"})
        assert code == 1
        assert "host-1 and host-3 are both called localhost" in err
        assert self.check(monkeypatch, capsys, {"hostname": "x1"}, {"hostname": "x2"})[0] == 0
        monkeypatch.delenv("OWN_NAMES")
        assert self.check(monkeypatch, capsys, same, same)[0] == 0


@pytest.fixture(scope="module")
def probed() -> list[str]:
    """What the probe says of this machine, a Linux like any host; it only reads."""
    done = subprocess.run(
        ["bash", "-s", OWN],
        input=(FOLDER / "probe.sh").read_text(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines(keepends=True)


class TestProbe:
    def test_this_machine_answers_every_fact_that_is_compared(self, probed: list[str]) -> None:
        said = facts.parse((line, 0.0) for line in probed)
        assert {*alike.SAME, *alike.NEARLY_SAME, "machineId", "diskFreeMib", "controllers"} <= set(said.values)
        assert said.number("cpus") > 0
        assert said.number("memoryMib") > 0
        assert said.clock_offset_s > 1.7e9

    def test_lines_of_the_probe_are_short_and_single(self, probed: list[str]) -> None:
        assert all("=" in line and len(line) < 400 for line in probed)
