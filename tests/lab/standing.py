"""The labs that all tests share, and what was seen while they were made."""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab import machine
from tests.lab.lab import PROJECT, LabStack
from tests.lab.watcher import PodWatcher

CPUS = 1
"""Fewer than the machine has: so that a cap can be told from none."""
MEMORY_MIB = 1536


@dataclass
class Standing:
    """Both labs, and what was seen while they were made."""

    lab: LabStack
    second: LabStack
    machine_before: machine.Machine
    tree_before: frozenset[str]
    interrupted: str
    """What the first lab's ``up`` printed before Ctrl-C ended it."""
    exit_code: int
    machines_then: dict[str, str]
    resumed: str
    pods: PodWatcher
    metrics: str
    """The API server's own, when nothing but the workloads had used it."""


def tree() -> frozenset[str]:
    """What git sees of the places that a lab could write to."""
    places = (":(glob)*", "stacks", ".lab")
    return frozenset(machine.output("git", "-C", str(PROJECT), "status", "--porcelain", "--", *places).splitlines())
