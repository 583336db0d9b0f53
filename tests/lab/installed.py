"""Distributions whose program is an artifact, K3s and k0s: releases of them for labs, doubles among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.doubles.hostimage import DOUBLES
from tests.lab.distributions import HOSTS, steps_of
from tests.lab.lab import LabStack


@dataclass(frozen=True)
class Release:
    """A distribution's program to install."""

    version: str
    binary: Path


def stamped(folder: Path, double: str, version: str) -> Release:
    """A double (``k3s``, ``k0s``) as a release of that version."""
    binary = folder / f"{double}-{version}"
    binary.write_text((DOUBLES / double / double).read_text(encoding="utf-8").replace("@VERSION@", version))
    binary.chmod(0o755)
    return Release(version, binary)


def ask_for(lab: LabStack, version: str, artifacts: str) -> None:
    """Another release in the lab's file, and nothing to measure."""
    lab.pulumi("config", "set", "--path", "litelab:workloads", "[]")
    lab.pulumi("config", "set", "litelab:version", version)
    lab.pulumi("config", "set", "litelab:artifacts", artifacts)


def refuses_a_downgrade(lab: LabStack, version: str, artifacts: str) -> None:
    """An earlier release in the lab's file is an error with its reason."""
    ask_for(lab, version, artifacts)
    refused = lab.pulumi("up", "--yes", "--skip-preview", check=False)
    assert refused.returncode != 0
    assert "a cluster is never downgraded" in refused.stdout


def times_run(lab: LabStack, steps: Iterable[str]) -> list[int]:
    """How often each of these steps has ended, on all hosts together."""
    ended = [step for of_host in steps_of(lab, HOSTS).values() for step in of_host]
    return [ended.count(step) for step in steps]
