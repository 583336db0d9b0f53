"""What doctor prints, and when it says that the default lab can run."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tools.setup import doctor
from tools.setup.doctor import Finding

GOOD = Finding("memory", ok=True, needed=True, detail="8000 MiB")
OPTIONAL = Finding("KVM", ok=False, needed=False, detail="no /dev/kvm", rules_out="fast machines", fix="use nspawn")
BLOCKING = Finding("root", ok=False, needed=True, detail="no", rules_out="nspawn hosts", fix="sudo make lab")


def test_each_requirement_has_a_line_and_each_lack_its_cure() -> None:
    lines = doctor.show([GOOD, OPTIONAL, BLOCKING]).splitlines()
    assert len(lines) == 3 + 2 + 1
    assert lines[0].startswith("ok ")
    assert "rules out: fast machines. Mend: use nspawn" in lines[2]
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


@pytest.mark.parametrize("check", doctor.CHECKS, ids=lambda check: check.__name__.strip("_"))
def test_every_check_runs_here_and_says_what_a_lack_rules_out(check: Callable[[], Finding]) -> None:
    finding = check()
    assert finding.detail
    if not finding.ok:
        assert finding.rules_out
        assert finding.fix
