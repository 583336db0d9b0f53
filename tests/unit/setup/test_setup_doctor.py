"""What doctor prints, and when it says that the default lab can run."""

from __future__ import annotations

import errno
import grp
import json
import socket
from collections.abc import Callable

import pytest

from components.checks import kvm
from tools.setup import doctor
from tools.setup.doctor import Finding

GOOD = Finding("memory", ok=True, needed=True, detail="8000 MiB")
OPTIONAL = Finding("KVM", ok=False, needed=False, detail="no /dev/kvm", rules_out="fast machines", fix="use nspawn")
BLOCKING = Finding("root", ok=False, needed=True, detail="no", rules_out="nspawn hosts", fix="sudo make lab")


def test_each_requirement_has_a_line_and_each_lack_its_cure() -> None:
    lines = doctor.show([GOOD, OPTIONAL, BLOCKING]).splitlines()
    assert len(lines) == 3 + 2 + 1
    assert lines[0].startswith("ok ")
    assert "rules out: fast machines. Fix: use nspawn" in lines[2]
    assert lines[-1] == "The default lab can't run: root."


@pytest.mark.parametrize(("found", "code"), [([GOOD, OPTIONAL], 0), ([GOOD, BLOCKING], 1)])
def test_only_what_the_default_lab_needs_decides_the_exit_code(
    found: list[Finding], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "findings", lambda: found)
    assert doctor.main(as_json=True) == code
    said = json.loads(capsys.readouterr().out)
    assert said["defaultLab"] is (code == 0)
    assert [f["name"] for f in said["findings"]] == [f.name for f in found]
    assert [f["rulesOut"] for f in said["findings"]] == [f.rules_out for f in found]
    assert not any("_" in key for f in said["findings"] for key in f)


@pytest.mark.parametrize("check", doctor.CHECKS, ids=lambda check: check.__name__.strip("_"))
def test_every_check_runs_here_and_says_what_a_lack_rules_out(check: Callable[[], Finding]) -> None:
    finding = check()
    assert finding.detail
    if not finding.ok:
        assert finding.rules_out
        assert finding.fix


class TestForbiddenKvm:
    """/dev/kvm is there, and this user may not open it."""

    DENIED = PermissionError(errno.EACCES, "Permission denied")

    @pytest.fixture(autouse=True)
    def of_alice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kvm, "_name_of_user", lambda: "alice")

    def group(self, monkeypatch: pytest.MonkeyPatch, *members: str) -> None:
        monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("kvm", "x", gid, list(members))))

    def test_who_is_not_in_its_group_is_told_how_to_join(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.group(monkeypatch, "bob")
        assert kvm.fix(self.DENIED, 0o20660, 106) == "sudo usermod -aG kvm alice, and log in again"

    def test_who_has_joined_it_since_is_told_to_log_in_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.group(monkeypatch, "alice")
        assert kvm.fix(self.DENIED, 0o20660, 106).startswith("log in again, or newgrp kvm")

    def test_a_group_without_a_name_gets_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(grp, "getgrgid", {}.__getitem__)
        assert kvm.fix(self.DENIED, 0o20660, 106).startswith("sudo groupadd -g 106 kvm && sudo usermod -aG kvm alice")

    @pytest.mark.parametrize(("mode", "gid"), [(0o20600, 106), (0o20660, 0)])
    def test_a_device_of_roots_alone_is_given_to_a_group_first(self, mode: int, gid: int) -> None:
        assert "sudo chown root:kvm /dev/kvm && sudo chmod 660 /dev/kvm && sudo usermod -aG kvm alice" in kvm.fix(
            self.DENIED, mode, gid
        )

    def test_a_container_is_told_to_take_the_device(self) -> None:
        assert "--device /dev/kvm" in kvm.fix(PermissionError(errno.EPERM, "Operation not permitted"), 0o20666, 0)

    def test_the_line_has_the_cure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kvm, "forbidden", lambda: ("/dev/kvm is there and may not be opened", "sudo usermod"))
        (check,) = (check for check in doctor.CHECKS if check.__name__ == "_kvm")
        assert "Fix: sudo usermod" in doctor.show([check()])


@pytest.mark.parametrize(("exempt", "reached"), [("", False), ("127.0.0.1", True)])
def test_a_site_is_tried_by_the_proxy_unless_it_is_exempt(
    monkeypatch: pytest.MonkeyPatch, exempt: str, reached: bool
) -> None:
    """The machine's index listens, and nothing does where the proxy is said to be."""
    with socket.create_server(("127.0.0.1", 0)) as index:
        address = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        monkeypatch.setattr("tools.setup.pip.settings", lambda _: {"index-url": address})
        for name in ("HTTP_PROXY", "no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", "127.0.0.1:9")
        monkeypatch.setenv("no_proxy", exempt)
        monkeypatch.setattr(doctor, "_mirror", lambda: "")
        found = {finding.name: finding for finding in doctor._sites()}["Python packages"]
    assert found.ok == reached
    assert reached or "127.0.0.1:9 is not reached" in found.detail
