"""What ``make lab`` and ``make status`` make of hosts that are not as the state says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.errors import SetupError
from tools.lab import presence, stacks, status
from tools.lab.presence import Part, Presence, Seen
from tools.places import PROJECT

HOSTS = "urn:pulumi:my::litelab::litelab:lab:Lab$litelab:hosts:NspawnHosts::hosts"


def step(name: str, parent: str = HOSTS, **environment: Any) -> dict[str, Any]:
    return {
        "urn": f"urn:pulumi:my::litelab::command:local:Command::{name}",
        "type": "command:local:Command",
        "parent": parent,
        "inputs": {"environment": environment},
        "outputs": {"stdout": f"{name}-1"},
    }


def a_state(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"urn": HOSTS, "type": "litelab:hosts:NspawnHosts"}, *entries]


class FakePresence(Presence):
    """A lab whose parts are in the states that a test gives."""

    def __init__(self, **states: str) -> None:
        self.stack, self.kind, self.run = "my", "nspawn", Path("/nowhere")
        self.seen = [Seen(Part(name.replace("_", "-"), f"urn:{name}", {}, ""), state) for name, state in states.items()]
        self.started: list[str] = []
        self.late = ""

    def look(self) -> list[Seen]:
        return self.seen

    def start(self, seen: Any) -> None:
        self.started += [one.part.name for one in seen]

    def await_cluster(self, since: float) -> str:  # noqa: ARG002
        return self.late


@pytest.fixture(autouse=True)
def nobody_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "YES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(presence, "SETTLE_S", 0)


class TestParts:
    def test_they_are_the_network_and_the_hosts_of_the_state_in_order(self) -> None:
        known = a_state(
            step("host-10"), step("keys"), step("host-2"), step("network"), step("stage-host-1", "urn:other")
        )
        assert [part.name for part in presence.parts(known)] == ["network", "host-2", "host-10"]
        assert presence.kind_of(known) == "nspawn"

    def test_a_step_is_looked_at_with_what_it_was_given_and_no_secret(self) -> None:
        (part,) = presence.parts(a_state(step("host-1", CPUS="2", KEY={"4dabf18193072939515e22adb298388d": "x"})))
        assert part.environment == {"CPUS": "2"}
        assert part.identity == "host-1-1"

    def test_a_guest_has_its_domain_and_disk_with_it(self) -> None:
        disk = {"urn": "urn:x::libvirt:index/volume:Volume::disk-host-1", "type": "libvirt:index/volume:Volume"}
        other = {"urn": "urn:x::libvirt:index/volume:Volume::disk-host-11", "type": "libvirt:index/volume:Volume"}
        (part,) = presence.parts(a_state(step("host-1"), disk, other))
        assert part.stands_on == (disk["urn"],)

    @pytest.mark.parametrize("kind", ["nspawn", "existing", "libvirt"])
    def test_every_host_kind_can_be_looked_at(self, kind: str) -> None:
        found = presence.script(kind, [])
        assert found is not None
        assert os.access(found, os.X_OK)


class TestLook:
    """The scripts' answers, by a script that says them."""

    @pytest.fixture
    def lab(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        def make(script: str) -> Presence:
            monkeypatch.setattr(presence, "OWN", tmp_path)
            monkeypatch.setattr(presence, "resources", lambda *_: a_state(step("host-1", WHY="because")))
            path = tmp_path / "presence.sh"
            path.write_text(f"#!/bin/bash\n{script}\n")
            path.chmod(0o755)
            monkeypatch.setattr(presence, "script", lambda *_: path)
            return Presence(tmp_path, "my")

        return make

    @pytest.mark.parametrize(
        ("script", "state", "why"),
        [
            ("echo running", "running", ""),
            ('echo "off $WHY"', "off", "because"),
            ("echo a login that greets; exit 0", "unreachable", "it can't be looked at"),
            ("echo running; echo error: no >&2; exit 1", "unreachable", "no"),
            (":", "unreachable", "it can't be looked at"),
        ],
    )
    def test_what_is_no_answer_is_not_taken_for_one(self, lab: Any, script: str, state: str, why: str) -> None:
        (seen,) = lab(script).look()
        assert (seen.state, seen.why) == (state, why)

    def test_a_host_that_does_not_start_is_named_with_its_own_words(self, lab: Any) -> None:
        of = lab("echo error: its disk is full >&2; exit 1")
        with pytest.raises(SetupError, match=r"host-1 of the lab my could not be started again\. its disk is full"):
            of.start([Seen(of.parts[0], "off")])


class TestBringBack:
    def test_a_lab_that_is_there_is_left_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        lab = FakePresence(network="running", host_1="running")
        assert presence.bring_back(lab) == presence.Replacement()
        assert (lab.started, capsys.readouterr().out) == ([], "")

    def test_what_is_off_is_named_and_started(self, capsys: pytest.CaptureFixture[str]) -> None:
        lab = FakePresence(network="running", host_1="running", host_2="off")
        assert presence.bring_back(lab).flags == ()
        assert lab.started == ["host-2"]
        assert "host-2 is off" in capsys.readouterr().out

    def test_with_the_network_go_all_hosts_that_hang_on_it(self) -> None:
        lab = FakePresence(network="off", host_1="off", host_2="running")
        presence.bring_back(lab)
        assert lab.started == ["network", "host-1", "host-2"]

    def test_a_cluster_that_does_not_come_back_is_an_error(self) -> None:
        lab = FakePresence(host_1="off")
        lab.late = "host-1 not Ready"
        with pytest.raises(SetupError, match=r"has not come back: host-1 not Ready.*make destroy STACK=my"):
            presence.bring_back(lab)

    @pytest.mark.parametrize("state", ["unreachable", "changed"])
    def test_hosts_that_only_a_person_can_see_to_are_named_and_nothing_is_started(self, state: str) -> None:
        lab = FakePresence(host_1="off", host_2=state)
        with pytest.raises(SetupError, match=f"host-2 is {state}.*Nothing was changed"):
            presence.bring_back(lab)
        assert lab.started == []

    def test_nothing_is_lost_unless_somebody_agrees(self) -> None:
        lab = FakePresence(host_1="off", host_2="gone")
        with pytest.raises(SetupError, match=r"what was on the old ones is lost.*YES=1"):
            presence.bring_back(lab)
        assert lab.started == []

    @pytest.mark.parametrize(("name", "value"), [("YES", "1"), ("CI", "true")])
    def test_what_is_gone_is_replaced_when_somebody_agreed(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)
        lab = FakePresence(host_1="off", host_2="gone", host_3="gone")
        found = presence.bring_back(lab)
        assert found.flags == ("--replace=urn:host_2", "--replace=urn:host_3")
        assert found.environment == {"LITELAB_GONE": "host-2 host-3"}
        assert lab.started == ["host-1"]


class TestStatus:
    UNITS = ("k3s-agent", "only-some-versions")

    def said(self, *lines: str) -> str:
        return "\n".join(["Welcome!", *(f"litelab-status {line}" for line in ("up 100 1000 100", *lines))])

    def test_a_host_says_how_long_it_has_been_up(self) -> None:
        found = status.read_host(self.said("system running"), self.UNITS)
        assert found == status.Host("up 1 min, running")

    @pytest.mark.parametrize(
        ("line", "trouble"),
        [
            ("unit k3s-agent loaded active 0", ()),
            ("unit k3s-agent loaded inactive 0", (("k3s-agent", "is inactive"),)),
            ("unit k3s-agent loaded failed 5", (("k3s-agent", "is failed"),)),
            ("unit k3s-agent loaded activating 45", (("k3s-agent", "is starting, after 45 restarts"),)),
            ("unit k3s-agent not-found inactive", (("k3s-agent", "is not installed"),)),
            ("unit only-some-versions not-found inactive", ()),
        ],
    )
    def test_a_unit_that_does_not_run_is_named(self, line: str, trouble: Any) -> None:
        found = status.read_host(self.said("system running", line), self.UNITS)
        assert found is not None
        assert found.troubles == trouble

    def test_a_login_that_only_greets_has_said_nothing(self) -> None:
        assert status.read_host("Welcome to host-1, up 3 days\n", self.UNITS) is None

    @pytest.fixture
    def shown(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        """``make status`` of a lab with a kubeconfig."""
        (tmp_path / "kubeconfig").touch()
        monkeypatch.setattr(stacks, "locks", lambda _: [])
        monkeypatch.setattr(status, "guide", lambda *_: {})
        monkeypatch.setattr(status, "_nodes_table", lambda *_: None)
        monkeypatch.setattr(status, "resources", lambda *_: [
            {"type": "pulumi:pulumi:Stack", "urn": "", "outputs": {"cluster": {"nodes": ["host-1", "host-2"]}}}
        ])  # fmt: skip

        def show(state: str, host: status.Host, nodes: list[dict[str, Any]]) -> int:
            lab = FakePresence(host_2=state)
            lab.parts = [one.part for one in lab.seen]
            monkeypatch.setattr(lab, "nodes", lambda: nodes)
            monkeypatch.setattr(status, "Presence", lambda *_: lab)
            monkeypatch.setattr(status, "ask", lambda *_: host)
            return status.show(tmp_path, "my", tmp_path)

        return show

    GOOD = (status.Host("up 3 min, running"), [{"name": "host-1", "ready": True}, {"name": "host-2", "ready": True}])

    def test_a_good_lab_is_exit_code_0(self, shown: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert shown("running", *self.GOOD) == 0
        assert capsys.readouterr().out.startswith("my: up\n")

    @pytest.mark.parametrize(
        ("state", "host", "nodes", "words"),
        [
            ("off", GOOD[0], GOOD[1], "host-2 is off"),
            ("unreachable", GOOD[0], GOOD[1], "host-2 is unreachable"),
            ("running", status.Host("does not answer within 20 s"), GOOD[1], "host-2: does not answer"),
            ("running", status.Host("up 3 min, running", (("k3s-agent", "is inactive"),)), GOOD[1], "UNIT=k3s-agent"),
            ("running", GOOD[0], [GOOD[1][0], {"name": "host-2", "ready": False}], "node host-2 is NotReady"),
            ("running", GOOD[0], GOOD[1][:1], "there is no node host-2"),
            ("running", GOOD[0], [], "the API server does not answer"),
        ],
    )
    def test_what_is_not_as_it_should_be_is_named_and_exit_code_1(
        self, shown: Any, state: str, host: Any, nodes: Any, words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert shown(state, host, nodes) == 1
        told = capsys.readouterr().out
        assert told.startswith("my: not whole\n")
        assert words in told


class TestExisting:
    """``components/hosts/existing/scripts/presence.sh`` against an ssh that says what a host would."""

    SCRIPT = PROJECT / "components/hosts/existing/scripts/presence.sh"

    def look(self, tmp_path: Path, said: str, code: int = 0) -> str:
        (tmp_path / "lab.id").write_text("my-abc\n")
        (tmp_path / "bin").mkdir()
        ssh = tmp_path / "bin/ssh"
        # Of the words for a login shell the last but one is the frame's mark.
        ssh.write_text(f"#!/bin/bash\nw=(${{*: -1}})\nsed s/MARK/${{w[-2]}}/ <<'X'\n{said}\nX\nexit {code}\n")
        ssh.chmod(0o755)
        environment = {
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "LITELAB_RUN": str(tmp_path),
            "IDENTITY": "host-1-0123456789ab\n",
        }
        return subprocess.run(
            [self.SCRIPT, "look", "host-1"], env=environment, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    @pytest.mark.parametrize(
        ("said", "code", "answer"),
        [
            ("Welcome!\nMARK begin\n0123456789ab my-abc\nMARK end", 0, "running"),
            (
                "MARK begin\nffffffffffff my-abc\n\nMARK end",
                0,
                "changed it is another machine now (machine id ffffffffffff",
            ),
            ("MARK begin\n0123456789ab other\nMARK end", 0, "changed it is not in this lab's use any more"),
            ("MARK begin\n0123456789ab \nMARK end", 0, "changed it is not in this lab's use any more"),
            ("0123456789ab my-abc", 0, "unreachable ssh does not answer ("),
            ("Connection timed out", 255, "unreachable ssh does not answer (Connection timed out)"),
        ],
    )
    def test_it_tells_the_hosts_that_the_lab_took(self, tmp_path: Path, said: str, code: int, answer: str) -> None:
        assert self.look(tmp_path, said, code).startswith(answer)


class TestLibvirt:
    """``components/hosts/libvirt/scripts/presence.py`` against a virsh that keeps one guest's state in a file."""

    SCRIPT = PROJECT / "components/hosts/libvirt/scripts/presence.py"
    VIRSH = """#!/bin/bash
shift 3
echo "$*" >>"$STATE.calls"
case $1 in
domstate) [ -s "$STATE" ] || { echo "error: failed to get domain 'lab-host-1'" >&2; exit 1; }; cat "$STATE" ;;
start | resume) echo running >"$STATE" ;;
esac
"""

    def ask(self, tmp_path: Path, verb: str, state: str, ssh_code: int = 0) -> tuple[str, str]:
        (tmp_path / "bin").mkdir()
        for name, text in (("virsh", self.VIRSH), ("ssh", f"#!/bin/bash\nexit {ssh_code}\n")):
            (tmp_path / "bin" / name).write_text(text)
            (tmp_path / "bin" / name).chmod(0o755)
        (tmp_path / "state").write_text(state)
        environment = {
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "LITELAB_RUN": str(tmp_path),
            "DOMAIN": "lab-host-1",
            "STATE": str(tmp_path / "state"),
        }
        done = subprocess.run(
            [self.SCRIPT, verb, "host-1"], env=environment, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout.strip(), (tmp_path / "state.calls").read_text()

    @pytest.mark.parametrize(
        ("state", "ssh_code", "answer"),
        [
            ("running\n", 0, "running"),
            ("running\n", 255, "unreachable its guest lab-host-1 runs"),
            ("shut off\n", 0, "off its guest lab-host-1 is shut off"),
            ("crashed\n", 0, "off its guest lab-host-1 is crashed"),
            ("", 0, "gone libvirt has no guest lab-host-1"),
        ],
    )
    def test_it_tells_guests_that_are_off_from_those_that_are_gone(
        self, tmp_path: Path, state: str, ssh_code: int, answer: str
    ) -> None:
        assert self.ask(tmp_path, "look", state, ssh_code)[0].startswith(answer)

    @pytest.mark.parametrize(("state", "verb"), [("shut off\n", "start"), ("paused\n", "resume")])
    def test_a_guest_is_started_with_what_it_stands_on(self, tmp_path: Path, state: str, verb: str) -> None:
        calls = self.ask(tmp_path, "start", state)[1].splitlines()
        assert calls == ["pool-start lab", "net-start lab", "domstate lab-host-1", f"{verb} lab-host-1"]


def test_resources_that_wait_for_their_deletion_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my.json"
    entries = a_state(step("host-1"), {**step("host-2"), "delete": True})
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": entries}}}))
    monkeypatch.setattr(stacks, "state_file", lambda _: path)
    assert [part.name for part in presence.parts(presence.resources(tmp_path, "my"))] == ["host-1"]
    path.write_text("{")
    assert presence.resources(tmp_path, "my") == []


class TestPatience:
    @pytest.mark.parametrize(("text", "times"), [("8\n", 8), ("1\n", 1), ("0\n", 1), ("", 1), ("soon\n", 1), (None, 1)])
    def test_limits_are_multiplied_by_what_the_lab_was_made_with(
        self, text: str | None, times: int, tmp_path: Path
    ) -> None:
        if text is not None:
            (tmp_path / "patience").write_text(text)
        assert presence.patience(tmp_path) == times
