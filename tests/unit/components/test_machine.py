"""What is found of the machine: cgroups in all their forms, temporary files, sites that do not answer."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from components.checks import machine
from components.checks.machine import Cgroups
from tools.setup import doctor

ALL = frozenset({"cpu", "memory", "pids"})


def tree(top: Path, *files: str) -> Path:
    for name in files:
        path, _, text = name.partition("=")
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    return top


@pytest.mark.parametrize(
    ("files", "shown", "works"),
    [
        (("cgroup.controllers=cpuset cpu io memory pids",), "v2 without systemd", True),
        (("cgroup.controllers=cpu pids",), "v2 without systemd", False),
        (("cgroup.controllers=",), "v2 without systemd", False),
        (("cpu/cgroup.procs", "memory/cgroup.procs", "pids/cgroup.procs"), "v1", True),
        (("cpu,cpuacct/cgroup.procs", "memory/cgroup.procs", "pids/cgroup.procs"), "v1", True),
        (("cpu/cgroup.procs", "memory/cgroup.procs", "pids/cgroup.procs", "unified/cgroup.procs"), "v1, hybrid", True),
        (("cpu/cgroup.procs", "pids/cgroup.procs", "unified/cgroup.procs"), "v1, hybrid", False),
        ((), "v1", False),
    ],
)
def test_cgroups_of_each_form(tmp_path: Path, files: tuple[str, ...], shown: str, works: bool) -> None:
    found = machine.this_machines_cgroups(tree(tmp_path, *files), tmp_path / "no systemd")
    assert found.shown == shown
    assert (found.problem == "") is works
    finding = doctor.cgroups(found)
    assert finding.ok is works
    assert bool(finding.fix) is not works


def test_groups_that_nobody_may_make_are_refused_with_the_fix() -> None:
    said = Cgroups(2, ALL, writable=False).problem
    assert "read-only here" in said
    assert "--cgroupns=host" in said


@pytest.mark.parametrize(
    ("flags", "free", "ok", "words"),
    [
        (0, 9000, True, "/tmp"),
        (os.ST_NOEXEC, 9000, True, "noexec"),
        (0, 1000, True, "1000 MiB free"),
        (0, 3, False, "3 MiB free"),
    ],
)
def test_a_small_tmp_is_said_and_only_a_full_one_hinders(flags: int, free: int, ok: bool, words: str) -> None:
    finding = doctor.temporary("/tmp", flags, free)
    assert finding.ok is ok
    assert words in finding.detail


def test_a_site_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is the resolver that does not answer."""

    def wait(*_: object) -> None:
        time.sleep(2)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", wait)
    began = time.monotonic()
    assert "no answer within 0.2 s" in doctor.unreached("x.example", 443, 0.2)
    assert time.monotonic() - began < 1.5


def test_a_port_that_is_closed_or_open_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert doctor.unreached("127.0.0.1", port, 4) == ""
    assert "refused" in doctor.unreached("127.0.0.1", port, 4)
