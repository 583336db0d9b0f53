"""What is made of a host's own words: refusals with their cure, and whether hosts are alike."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from components.steps import SCRIPTS

FOLDER = SCRIPTS / "existing"
OWN = "x-lab-abc123@here"
GOOD = {
    "os": "Debian", "kernel": "6.1", "architecture": "x86_64", "cpuModel": "A", "cpus": "2", "memoryMib": "1990", "diskMib": "10000",
    "diskFreeMib": "9000", "fileSystem": "ext4", "virtualization": "kvm", "init": "systemd", "systemd": "252", "swap": "0",
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


def hinders(*more: str, clock_s: float = 0.0, **values: str) -> str:
    """Why a host that says this of itself is refused; empty when it is not."""
    lines = [f"{key}={value}" for key, value in {**GOOD, **values}.items()] + ["address=192.0.2.11", *more]
    lines.append(f"clockNs={int((1000.0 + clock_s) * 1e9)}")
    said = facts.parse((line + "\n", 1000.0) for line in lines)
    return "; ".join(facts.problems(said, OWN, "192.0.2.11", 2, 2048, "x86_64"))


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
            ({"swap": "1000"}, "swapoff -a"),
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


class TestAlike:
    def check(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        *changes: dict[str, Any],
        allow: str = "false",
    ) -> tuple[int, str, str]:
        base = {**GOOD, "cpus": 2, "memoryMib": 1990, "diskMib": 10000}
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
            "cpus": 2, "memoryMib": 1985, "cgroups": "v2", "alike": True, "differences": [],
        }  # fmt: skip

    @pytest.mark.parametrize(
        "change",
        [{"kernel": "6.2"}, {"cpuModel": "B"}, {"cpus": 4}, {"memoryMib": 4000}, {"cgroups": "v1"}, {"diskMib": 20000}],
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
        assert {*alike.SAME, *alike.NEARLY_SAME, "machineId", "diskFreeMib", "swap", "controllers"} <= set(said.values)
        assert said.number("cpus") > 0
        assert said.number("memoryMib") > 0
        assert said.clock_offset_s > 1.7e9

    def test_lines_of_the_probe_are_short_and_single(self, probed: list[str]) -> None:
        assert all("=" in line and len(line) < 400 for line in probed)
