"""Broken files, each where it is read: by the program (preview and up), by ``make lab``'s preflight, and by set-up.

All say the same one paragraph, with file, line and key, before anything is made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pulumi
import pytest

from components.benchmarks import workload_files
from components.catalog import artifacts
from components.checks import preflight
from components.config import stack_config
from components.config.settings import DEFAULT_MINOR, SettingsError
from components.site import component as site
from components.steps import scripts

REAL = Path(__file__).resolve().parents[3]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEdNAFH4cOKsWvEb5rCA9ZEJ9rG5cAMbJvVUDQ4Lc5RG"
EXISTING = "hosts:\n  kind: existing\n  addresses: [10.0.0.1]\n  key: /k\n  hostKeys:\n    - {line}\nworkers: 0\ncontrollerRunsWorkloads: true\n"
LAB, SITE = "stacks/x-lab.yaml", ".lab/site.yaml"
GOOD_WORKLOAD = "name: mine\nkind: pods\nclients: 2\nimage: a\n"

CASES: dict[str, tuple[Mapping[str, bytes], Mapping[str, str], str]] = {
    "lab: latin-1": ({LAB: b"workers: 2\n# caf\xe9\n"}, {}, f"{LAB}:2: has the byte 0xe9"),
    "lab: utf-16": ({LAB: "workers: 2\n".encode("utf-16")}, {}, f"{LAB}:1: is text in UTF-16"),
    "lab: tab": ({LAB: b"hosts:\n\tcpus: 2\n"}, {}, f"{LAB}:2: is not YAML: found character '\\t'"),
    "lab: twice": ({LAB: b"workers: 2\nworkers: 3\n"}, {}, f"{LAB}:2: workers: is there twice, here and in line 1"),
    "lab: two documents": ({LAB: b"workers: 2\n---\n{}\n"}, {}, f"{LAB}:2: begins a second document"),
    "lab: a list": ({LAB: b"- workers\n"}, {}, f"{LAB}: holds a list, and a lab is a mapping"),
    "lab: a value": ({LAB: b"upstream\n"}, {}, f"{LAB}: holds the value 'upstream', and a lab is a mapping"),
    "lab: typo": ({LAB: b"wrokers: 2\n"}, {}, f"{LAB}:1: unknown key wrokers. Did you mean workers?"),
    "lab: norway": ({LAB: b"ca: no\n"}, {}, f"{LAB}:1: ca: takes text such as /etc/ssl/mine.pem, and it is no, which YAML"),
    "lab: number": ({LAB: b"\nminor: 1.30\n"}, {}, f"{LAB}:2: minor: takes text such as {DEFAULT_MINOR}, and it is 1.30, which YAML reads"),
    "lab: octal": ({LAB: b"workers: 010\n"}, {}, f"{LAB}:1: workers: is 010, which YAML reads as the number 8"),
    "lab: repeats": ({LAB: b"repeats: 500\n"}, {}, f"{LAB}:1: repeats: takes a whole number from 1 to 100, and it is 500"),
    "lab: known_hosts": (
        {LAB: EXISTING.format(line="10.0.0.1 ssh-ed25519 AAAA").encode()}, {}, f"{LAB}:6: hosts.hostKeys: takes whole lines of known_hosts, such as 'ssh-keyscan -t ed25519 HOST' prints, and not one whose key is cut off",
    ),
    "lab: known_hosts of others": (
        {LAB: EXISTING.format(line=f"10.0.0.2 {KEY}").encode()}, {}, f"{LAB}:5: hosts: hostKeys has no line for 10.0.0.1",
    ),
    "site: twice": ({LAB: b"workers: 2\n", SITE: b"ca: a\nca: b\n"}, {}, f"{SITE}:2: ca: is there twice, here and in line 1"),
    "site: typo": ({LAB: b"workers: 2\n", SITE: b"# a\nporxy: http://a\n"}, {}, f"{SITE}:2: porxy can't be shared by all labs; it takes proxy"),
    "site: value": ({LAB: b"workers: 2\n", SITE: b"noProxy: .a\n"}, {}, f"{SITE}:1: noProxy: takes a list, and it is '.a': write [.a]"),
    "ca: none": ({LAB: b"ca: site/ca.pem\n"}, {}, f"{LAB}:1: ca: site/ca.pem: there is no such file"),
    "ca: of the site": ({LAB: b"workers: 2\n", SITE: b"ca: ca.pem\n", "ca.pem": b"x\n"}, {}, f"{SITE}:1: ca: ca.pem: holds no certificate in PEM"),
    "ca: cut off": (
        {LAB: b"\nca: ca.pem\n", "ca.pem": b"\n-----BEGIN CERTIFICATE-----\nMII\n"}, {}, f"{LAB}:2: ca: ca.pem:2: here begins what is no",
    ),
    "workload: none": ({LAB: b"workloads: [nosuch]\n"}, {}, f"{LAB}:1: workloads.0: there is no workload 'nosuch'"),
    "workload: typo": (
        {LAB: b"workloads: [my/w.yaml]\n", "my/w.yaml": f"{GOOD_WORKLOAD}replcas: 2\n".encode()}, {},
        f"{LAB}:1: workloads.0: my/w.yaml:5: unknown key replcas. Did you mean replicas?",
    ),
    "workload: latin-1": (
        {LAB: b"workloads: [my/w.yaml]\n", "my/w.yaml": b"name: caf\xe9\n"}, {}, f"{LAB}:1: workloads.0: my/w.yaml:1: has the byte 0xe9",
    ),
    "artifact: none": ({LAB: b"distribution: k0s\nartifacts: {k0s: a/k0s}\n"}, {}, f"{LAB}:2: artifacts.k0s: there is no a/k0s."),
    "artifact: unknown": ({LAB: b"distribution: k0s\nartifacts:\n  k9s: a\n"}, {}, f"{LAB}:3: artifacts.k9s: k0s has no such artifact"),
    "image: no tar": ({LAB: b"distribution: k0s\nimages: [a.tar]\n", "a.tar": b"x"}, {}, f"{LAB}:2: images.0: a.tar is no tar"),
    "configuration: typo": (
        {LAB: b"workers: 2\n"}, {"wrokers": "2"}, "configuration of stack x-lab: unknown key wrokers. Did you mean workers?",
    ),
    "configuration: no list": ({LAB: b"workers: 2\n"}, {"workloads": "[a"}, "configuration of stack x-lab: litelab:workloads: is not YAML"),
    "configuration: value": (
        {LAB: b"workers: 2\n"}, {"workers": "200"}, "configuration of stack x-lab: workers: takes a whole number from 0 to 100, and it is 200",
    ),
    "configuration: another lab": ({LAB: b"workers: 2\n"}, {"lab": "1.35"}, "Stack x-lab: there is no lab '1.35' in stacks/."),
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own, for code that runs in this process."""
    (tmp_path / "benchmarks").symlink_to(REAL / "benchmarks")
    (tmp_path / "inputs").symlink_to(REAL / "inputs")
    for module in (artifacts, stack_config, preflight, site, scripts, workload_files):
        monkeypatch.setattr(module, "PROJECT", tmp_path)
    for module in (stack_config, preflight):
        monkeypatch.setattr(module, "SITE", tmp_path / SITE)
    monkeypatch.setattr(workload_files, "SHIPPED", tmp_path / "benchmarks" / "workloads")
    monkeypatch.setenv("LITELAB_CACHE", str(tmp_path / "cache"))
    workload_files._refusals.cache_clear()
    return tmp_path


def broken(folder: Path, name: str) -> tuple[Mapping[str, str], str]:
    files, values, told = CASES[name]
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return values, told


def told_well(message: str, told: str) -> None:
    assert message.startswith(told)
    assert message.isprintable()
    assert "Traceback" not in message


@pytest.mark.parametrize("name", CASES)
def test_the_program_says_it_in_preview(checkout: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, told = broken(checkout, name)
    monkeypatch.setattr(pulumi, "get_project", lambda: "litelab")
    monkeypatch.setattr(pulumi, "get_stack", lambda: "x-lab")
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    pulumi.runtime.set_all_config({f"litelab:{key}": value for key, value in values.items()})
    try:
        with pytest.raises(SettingsError) as caught:
            stack_config.load_settings()
    finally:
        pulumi.runtime.set_all_config({})
    told_well(str(caught.value), told)


def fake_pulumi(folder: Path, values: Mapping[str, str]) -> str:
    """A PATH whose pulumi shows this configuration."""
    shown = {f"litelab:{key}": {"value": value, "secret": False} for key, value in values.items()}
    (folder / "bin").mkdir()
    program = folder / "bin" / "pulumi"
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{json.dumps(shown)}\nE\n")
    program.chmod(0o755)
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("name", CASES)
def test_preflight_says_it(
    checkout: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values, told = broken(checkout, name)
    monkeypatch.setenv("PATH", fake_pulumi(checkout, values))
    assert preflight.main(["x-lab"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    told_well(line.removeprefix("error: "), told)


@pytest.mark.parametrize("name", ["lab: utf-16", "workload: typo", "configuration: no list"])
@pytest.mark.parametrize("module", ["components.checks.preflight", "components.checks.needs"])
def test_make_lab_says_it_as_a_program_of_its_own(tmp_path: Path, name: str, module: str) -> None:
    for folder in ("components", "inputs", "benchmarks", "tools"):
        shutil.copytree(REAL / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "go.sum"))
    values, told = broken(tmp_path, name)
    environment = {**os.environ, "PATH": fake_pulumi(tmp_path, values), "LITELAB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", module, "x-lab"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if module == "components.checks.needs" and name.startswith("workload"):
        # Set-up looks at what the lab is made of; the files that it names come with preflight.
        assert done.returncode == 0
        return
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    told_well(line.removeprefix("error: "), told)
