"""The trial of KVM: its guest speaks where guests run, so that silence means that they do not."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from components.checks import kvm

pytestmark = pytest.mark.libvirt


def test_its_guest_speaks_under_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes a tenth of a second, but not on a machine that does much else.
    monkeypatch.setattr(kvm, "TRIAL_S", 60.0)
    assert kvm.starts_a_guest("tcg") == (True, "a guest starts")


def test_a_guest_that_says_nothing_did_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm, "TRIAL_S", 2.0)
    monkeypatch.setattr(kvm, "BOOT_SECTOR", b"\xf4".ljust(510, b"\0") + b"\x55\xaa")
    started, why = kvm.starts_a_guest("tcg")
    assert not started
    assert "did not start" in why


def test_a_guest_that_kvm_halts_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A KVM that interprets what kernels do, and does not know all of it."""
    program = tmp_path / "qemu-system-x86_64"
    program.write_text("#!/bin/sh\necho KVM internal error. Suberror: 1 >&2\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _name: str(program))
    monkeypatch.setattr(kvm, "TRIAL_S", 30.0)
    began = time.monotonic()
    assert kvm.starts_a_guest("tcg") == (False, "a guest did not start: KVM internal error. Suberror: 1")
    assert time.monotonic() - began < 15


def test_without_qemu_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert not kvm.starts_a_guest("tcg")[0]


def test_without_a_device_there_is_no_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    assert kvm.starts_a_guest() == (False, "no /dev/kvm")
