"""Where guests of the tests can't be: said in one line, so that they are left out by their reason and not failed."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.libvirt import ground
from tools.setup import debian, packages


@pytest.fixture(autouse=True)
def _a_machine_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "release", lambda: {"ID": "debian"})
    monkeypatch.setattr(ground, "TUN", Path(__file__))
    monkeypatch.setattr(ground, "available_mib", lambda: ground.MEMORY_MIB)
    monkeypatch.setattr(packages, "missing", lambda _wanted: [])
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("YES", "1")


def test_nothing_hinders_where_all_is_there() -> None:
    assert ground.hindrance() == ""


@pytest.mark.parametrize(
    ("where", "name", "value", "word"),
    [
        (platform, "machine", lambda: "aarch64", "aarch64"),
        (os, "geteuid", lambda: 1000, "root"),
        (debian, "release", lambda: {"ID": "ubuntu"}, "ubuntu"),
        (ground, "TUN", Path(__file__) / "none", "/none"),
        (ground, "available_mib", lambda: 1000, "1000 are free"),
    ],
)
def test_what_hinders_is_named(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, value: Any, word: str) -> None:
    monkeypatch.setattr(where, name, value)
    assert word in ground.hindrance()


@pytest.mark.parametrize("broken", ["update", "install"])
def test_packages_that_apt_does_not_bring_are_named(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def apt(words: list[str], **_: Any) -> SimpleNamespace:
        failed = broken in words
        return SimpleNamespace(
            returncode=100 * failed, stderr="W: x\nE: Unable to locate package qemu\n" if failed else ""
        )

    monkeypatch.setattr(packages, "missing", lambda _wanted: ["qemu-system-x86"])
    monkeypatch.setattr(subprocess, "run", apt)
    said = ground.hindrance()
    assert "qemu-system-x86: E: Unable to locate package qemu" in said


def test_nobody_is_asked_for_packages_in_the_middle_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", lambda _wanted: ["qemu-system-x86"])
    monkeypatch.delenv("YES")
    assert "YES=1" in ground.hindrance()


def test_packages_that_set_up_will_bring_are_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def apt(words: list[str], **_: Any) -> SimpleNamespace:
        asked.append(words)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(packages, "missing", lambda _wanted: ["qemu-system-x86"])
    monkeypatch.setattr(subprocess, "run", apt)
    assert ground.hindrance() == ""
    assert "--simulate" in asked[-1]
