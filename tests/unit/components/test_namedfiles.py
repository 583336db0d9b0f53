"""The files that a lab's settings name: refused with the line that names them, before anything is made."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from components.benchmarks import workload_files
from components.checks import named_files
from components.config.lab_file import load
from components.config.settings import SettingsError

WORKLOAD = "name: mine\nkind: pods\nclients: 2\nimage: litelab/pause:1\n"


def refusal(folder: Path, text: str) -> str:
    (folder / "x-lab.yaml").write_text(f"# a lab\n{text}")
    with pytest.raises(SettingsError) as caught:
        named_files.require(load(folder, "x-lab", "", {}))
    message = str(caught.value)
    assert message.startswith(f"{folder.name}/x-lab.yaml:")
    assert message.endswith("Nothing was made.")
    assert message.isprintable()
    return message


def tar(path: Path, *names: str) -> None:
    with tarfile.open(path, "w") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name), io.BytesIO())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELAB_CACHE", str(tmp_path / "cache"))
    workload_files._refusals.cache_clear()


class TestWorkloads:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (f"{WORKLOAD}clints: 3\n", "{path}:5: unknown key clints. Did you mean clients?"),
            (WORKLOAD.replace("clients: 2", "clients: many"), "{path}:3: clients: takes a whole number from 1 to 500"),
            (WORKLOAD.replace("pods", "pots"), "{path}:2: kind: takes 'pods' or 'deployments', and it is 'pots'"),
            (f"{WORKLOAD}slo:\n  startupP99Seconds: fast\n", "{path}:6: slo.startupP99Seconds: takes a number above 0"),
            (f"{WORKLOAD}name: again\n", "{path}:5: name: is there twice, here and in line 1"),
            (WORKLOAD.replace("mine", "1.30"), "{path}:1: name: takes text, and it is 1.30, which YAML reads as 1.3"),
            (WORKLOAD.replace("mine", "MINE"), "{path}:1: name: takes at most 40 small letters"),
            (f"{WORKLOAD}replicas: 2\n", "{path}:5: replicas: only deployments have replicas"),
            ("name: mine\n", "{path}: kind: is missing"),
            ("- a\n", "{path}: a workload file holds keys and values"),
            ("", "{path}: a workload file holds keys and values"),
            ("name: caf\xe9", "{path}:1: has the byte 0xe9"),
        ],
    )
    def test_what_is_wrong_in_one_is_told_with_both_lines(self, tmp_path: Path, content: str, told: str) -> None:
        path = tmp_path / "mine.yaml"
        path.write_bytes(content.encode("latin-1"))
        message = refusal(tmp_path, f"workloads:\n  - pods-8\n  - {path}\n")
        assert message.startswith(f"{tmp_path.name}/x-lab.yaml:4: workloads.1: {told.format(path=path)}")

    def test_one_that_is_not_there_is_told_with_the_nearest(self, tmp_path: Path) -> None:
        message = refusal(tmp_path, "workloads: [pods-9]\n")
        assert (
            "x-lab.yaml:2: workloads.0: there is no workload 'pods-9'. Did you mean pods-8? Workloads here:" in message
        )

    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
    def test_what_is_no_file_is_not_waited_for(self, tmp_path: Path, make: object) -> None:
        make(tmp_path / "mine.yaml")  # type: ignore[operator]
        assert "a regular file is needed" in refusal(tmp_path, f"workloads: ['{tmp_path}/mine.yaml']\n")

    def test_more_repeats_than_a_workload_takes_are_refused_by_the_lab_too(self, tmp_path: Path) -> None:
        message = refusal(tmp_path, "repeats: 101\n")
        assert (
            "x-lab.yaml:2: repeats: takes a whole number from 1 to 100, and it is 101: set it to 100 or less" in message
        )

    def test_a_good_one_is_read_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "mine.yaml").write_text(WORKLOAD)
        (tmp_path / "x-lab.yaml").write_text(f"workloads: [pods-8, '{tmp_path}/mine.yaml']\n")
        lab = load(tmp_path, "x-lab", "", {})
        named_files.require(lab)
        workload_files._refusals.cache_clear()
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("asked again"))
        named_files.require(lab)

    def test_a_changed_one_is_read_again(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text(WORKLOAD)
        (tmp_path / "x-lab.yaml").write_text(f"workloads: ['{tmp_path}/mine.yaml']\n")
        named_files.require(load(tmp_path, "x-lab", "", {}))
        (tmp_path / "mine.yaml").write_text(WORKLOAD.replace("clients: 2", "clients: 0"))
        assert "clients: takes a whole number" in refusal(tmp_path, f"workloads: ['{tmp_path}/mine.yaml']\n")


class TestArtifactsAndImages:
    def test_an_artifact_that_is_not_there_has_its_line(self, tmp_path: Path) -> None:
        message = refusal(tmp_path, "distribution: k0s\nartifacts:\n  k0s: /nowhere/k0s\n")
        assert "x-lab.yaml:4: artifacts.k0s: there is no /nowhere/k0s." in message

    def test_an_artifact_that_no_such_distribution_has_is_named(self, tmp_path: Path) -> None:
        message = refusal(tmp_path, "distribution: k0s\nartifacts:\n  k9s: /nowhere/k0s\n")
        assert "x-lab.yaml:4: artifacts.k9s: k0s has no such artifact" in message

    @pytest.mark.parametrize(
        ("make", "told"),
        [
            (os.mkfifo, "is a FIFO (a named pipe)"),
            (lambda path: path.write_bytes(b""), "is empty"),
            (lambda path: path.symlink_to(path), "can't be read: Too many levels of symbolic links"),
        ],
    )
    def test_a_file_that_can_not_be_taken_is_named(self, tmp_path: Path, make: object, told: str) -> None:
        make(tmp_path / "k0s")  # type: ignore[operator]
        message = refusal(tmp_path, f"distribution: k0s\nartifacts:\n  k0s: {tmp_path}/k0s\n")
        assert "x-lab.yaml:4: artifacts.k0s: " in message
        assert told in message

    def test_an_image_that_is_no_tar_of_images_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar").write_text("no tar")
        line = f"distribution: k0s\nimages:\n  - {tmp_path}/a.tar\n"
        assert "x-lab.yaml:4: images.0: a.tar is no tar" in refusal(tmp_path, line)
        tar(tmp_path / "a.tar", "etc/passwd")
        assert "x-lab.yaml:4: images.0: a.tar holds no container image" in refusal(tmp_path, line)

    @pytest.mark.parametrize("name", ["manifest.json", "./index.json", "oci-layout"])
    def test_a_tar_of_images_is_taken(self, tmp_path: Path, name: str) -> None:
        tar(tmp_path / "a.tar", "blobs", name)
        (tmp_path / "x-lab.yaml").write_text(f"distribution: k0s\nimages:\n  - {tmp_path}/a.tar\n")
        named_files.require(load(tmp_path, "x-lab", "", {}))


class TestSite:
    def test_an_authority_has_its_line_and_the_line_in_its_file(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("\n\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        message = refusal(tmp_path, f"ca: {tmp_path}/ca.pem\n")
        assert f"x-lab.yaml:2: ca: {tmp_path}/ca.pem:3: here begins what is no certificate in PEM" in message

    def test_mirrors_that_a_distribution_can_not_be_told_of_have_their_line(self, tmp_path: Path) -> None:
        message = refusal(tmp_path, "distribution: microshift\nregistries:\n  '*': https://m.example\n")
        assert "x-lab.yaml:3: registries: '*' can't be told to microshift" in message
