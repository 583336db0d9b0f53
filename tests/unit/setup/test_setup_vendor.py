"""Which plugin a lab uses: the vendor's where it can be had, else one of ours, and never one for the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.progress import Progress
from tools.setup import gobuild, vendor

NAME, VERSION = "pulumi-resource-thing", "1.2.3"


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    # A port of loopback that nobody listens on.
    monkeypatch.setattr(vendor, "SITE", ("127.0.0.1", 1))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path)


def put(cache: Path) -> Path:
    program = vendor.place(cache, "thing", VERSION)
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    return program


def test_a_plugin_is_placed_where_pulumi_keeps_plugins_and_other_programs_on_path(tmp_path: Path) -> None:
    assert gobuild.place(tmp_path, NAME, {"version": VERSION}) == (
        tmp_path / "pulumi-home/plugins/resource-thing-v1.2.3" / NAME
    )
    assert gobuild.place(tmp_path, "etcd", {"version": VERSION}) == tmp_path / "bin/etcd"


@pytest.mark.usefixtures("unreachable")
def test_the_vendors_plugin_is_used_when_it_is_there(tmp_path: Path, progress: Progress) -> None:
    put(tmp_path)
    assert vendor.brings(tmp_path, NAME, VERSION, progress)


@pytest.mark.usefixtures("unreachable")
def test_ours_is_not_taken_for_the_vendors(tmp_path: Path, progress: Progress) -> None:
    vendor.mark_ours(put(tmp_path))
    assert not vendor.brings(tmp_path, NAME, VERSION, progress)


@pytest.mark.usefixtures("unreachable")
def test_one_that_an_older_set_up_left_on_path_goes(tmp_path: Path, progress: Progress) -> None:
    old = tmp_path / "bin" / NAME
    old.parent.mkdir()
    old.write_text("#!/bin/sh\n")
    assert not vendor.brings(tmp_path, NAME, VERSION, progress)
    assert not old.exists()


def test_no_vendor_is_asked_for_what_is_no_plugin(tmp_path: Path, progress: Progress) -> None:
    assert not vendor.brings(tmp_path, "etcd", VERSION, progress)
