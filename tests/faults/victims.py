"""Who is hurt: Pulumi, its plugins, and our own scripts, as they run for one command; and when there is one to hurt."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.lab import FaultLab
from tests.faults.running import Process, Running, processes


def _named(name: str) -> Callable[[FaultLab, Running], list[Process]]:
    # The kernel keeps 15 characters of a name.
    return lambda _lab, running: [p for p in running.family() if p.name == name[:15]]


def scripts_here(lab: FaultLab, running: Running) -> list[Process]:
    """Steps that run on this machine."""
    mine = re.compile(rf"\.lab/run/{lab.name}/[a-z]+-[0-9a-f]{{12}}/\S+\.(sh|py)\b")
    return [p for p in running.family() if mine.search(p.words) and not p.name.startswith("pulumi")]


def scripts_on_hosts(lab: FaultLab, _running: Running) -> list[Process]:
    """Steps that run on the lab's hosts, seen from outside."""
    return [p for p in processes() if f"/{lab.id}/" in p.cgroup and "/opt/litelab/upstream/scripts/" in p.words]


def our_own(lab: FaultLab, running: Running) -> list[Process]:
    """Scripts, here and on hosts."""
    return [*scripts_here(lab, running), *scripts_on_hosts(lab, running)]


def make(_lab: FaultLab, running: Running) -> list[Process]:
    """What ``make lab`` starts around Pulumi, alone."""
    return [p for p in running.family() if p.pid == running.process.pid]


VICTIMS: dict[str, Callable[[FaultLab, Running], list[Process]]] = {
    "pulumi": _named("pulumi"),
    "command plugin": _named("pulumi-resource-command"),
    "script": our_own,
    "language plugin": _named("pulumi-language-python"),
    "make": make,
}


@dataclass(frozen=True)
class Window:
    """From when until when such a process lived, in seconds after a command's start."""

    first_s: float
    last_s: float

    def moment(self, share: float) -> float:
        return self.first_s + share * (self.last_s - self.first_s)


Windows = dict[str, Window]
"""By victim; one that never lived has none."""


def windows(lab: FaultLab, running: Running) -> Windows:
    """Watches a command to its end."""
    seen: Windows = {}
    while not running.has_ended:
        for name, found in VICTIMS.items():
            if found(lab, running):
                seen[name] = Window(seen[name].first_s if name in seen else running.seconds, running.seconds)
        time.sleep(0.05)
    return seen
