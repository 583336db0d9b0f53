"""What a person and the benchmarks read to reach a lab: whole, and for its owner alone."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import stat
from pathlib import Path
from types import ModuleType

import pytest

from components.steps.scripts import scripts_of

REQUEST = {
    "kubeconfig": "apiVersion: v1\n",
    "hosts": {"schemaVersion": 1, "hosts": [{"name": "host-1"}, {"name": "host-2"}]},
}


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, working in an empty run folder."""
    spec = importlib.util.spec_from_file_location("litelab_access", scripts_of("benchmarks") / "access.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RUN", tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(REQUEST)))
    return module


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_both_files_are_for_their_owner_alone_whatever_the_umask(access: ModuleType, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert access.main(["create"]) == 0
    finally:
        os.umask(before)
    assert {p.name: mode(p) for p in tmp_path.iterdir()} == {"kubeconfig": 0o600, "hosts.json": 0o600}


def test_the_kubeconfig_is_written_as_given(access: ModuleType, tmp_path: Path) -> None:
    access.main(["create"])
    assert (tmp_path / "kubeconfig").read_text() == REQUEST["kubeconfig"]


def test_every_host_is_given_the_labs_ssh_configuration(access: ModuleType, tmp_path: Path) -> None:
    access.main(["create"])
    hosts = json.loads((tmp_path / "hosts.json").read_text())["hosts"]
    assert [h["sshConfig"] for h in hosts] == ["ssh_config"] * 2


def test_a_file_that_others_could_read_is_replaced_not_written_into(access: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as reader:
        access.main(["create"])
        assert reader.read() == "old"
    assert mode(path) == 0o600


def test_a_write_that_fails_leaves_the_old_file_whole(
    access: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        access.write(path, "new")
    assert path.read_text() == "old"


def test_what_a_killed_write_left_is_no_obstacle(access: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".kubeconfig.new").write_text("half")
    assert access.main(["create"]) == 0
    assert not (tmp_path / ".kubeconfig.new").exists()


def test_a_link_in_the_way_of_the_new_file_is_not_followed(access: ModuleType, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".kubeconfig.new").symlink_to(victim)
    access.main(["create"])
    assert victim.read_text() == "mine"


def test_delete_removes_both_and_may_come_twice(access: ModuleType, tmp_path: Path) -> None:
    access.main(["create"])
    (tmp_path / "ssh_config").write_text("")
    assert access.main(["delete"]) == 0
    assert access.main(["delete"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["ssh_config"]


def test_anything_else_prints_the_usage(access: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert access.main(["make"]) == 1
    assert "usage: access.py" in capsys.readouterr().err
