"""What the machine shows of labs: to be the same after them as before."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

SYSCTLS = (
    "vm.overcommit_memory",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "net.ipv4.ip_forward",
)

CGROUPS = tuple(f"{above}litelab*{below}" for above in ("", "*/") for below in ("", "/*", "/*/*"))
CHANGES_BY_ITSELF = re.compile(r"expires \S+|counter packets \d+ bytes \d+")


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


@dataclass(frozen=True)
class Machine:
    """Everything that a lab could leave, one line each."""

    namespaces: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    addresses: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]
    registry: frozenset[str]
    sysctls: frozenset[str]
    filters: frozenset[str]

    @property
    def has_labs(self) -> bool:
        return any(line.startswith("/run/litelab/labs/") for line in self.registry)

    def added_since(self, before: Machine) -> dict[str, list[str]]:
        """What is here and was not, by kind."""
        added = {f.name: sorted(getattr(self, f.name) - getattr(before, f.name)) for f in fields(self)}
        return {kind: lines for kind, lines in added.items() if lines}

    def traces_of(self, *marks: str) -> dict[str, list[str]]:
        """Everything that carries one of the lab's own marks, by kind."""
        found = {f.name: sorted(x for x in getattr(self, f.name) if any(m in x for m in marks)) for f in fields(self)}
        return {kind: lines for kind, lines in found.items() if lines}


def look() -> Machine:
    """The machine as it is now."""
    links = json.loads(output("ip", "-json", "link"))
    addresses = json.loads(output("ip", "-json", "addr"))
    return Machine(
        namespaces=frozenset(line.split()[0] for line in output("ip", "netns", "list").splitlines()),
        links=frozenset(link["ifname"] for link in links),
        routes=frozenset(_lines("ip", "route", "show", "table", "all")),
        addresses=frozenset(a["local"] for link in addresses for a in link["addr_info"]),
        mounts=frozenset(_mounts()),
        cgroups=frozenset(str(p) for pattern in CGROUPS for p in Path("/sys/fs/cgroup").glob(pattern) if p.is_dir()),
        processes=frozenset(_processes()),
        registry=frozenset(str(p) for p in Path("/run/litelab").rglob("*")),
        sysctls=frozenset(f"{key}={output('sysctl', '-n', key).strip()}" for key in SYSCTLS),
        filters=frozenset(_lines("nft", "list", "ruleset")),
    )


def _lines(*command: str) -> list[str]:
    return [" ".join(CHANGES_BY_ITSELF.sub("", line).split()) for line in output(*command).splitlines()]


def _mounts() -> list[str]:
    """Mount point and source of every mount."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [f"{line.split()[4]} {line.partition(' - ')[2].split()[1]}" for line in lines]
    # 'ip netns add' makes that folder a mount at its first use, and leaves it so.
    return [mount for mount in found if not mount.startswith("/run/netns ")]


def _processes() -> list[str]:
    """Every process: id, name, cgroups, command line, working folder."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            name = (folder / "comm").read_text().strip()
            if _is_dead(folder):
                continue
            cgroups = " ".join({line.split(":", 2)[2] for line in (folder / "cgroup").read_text().splitlines()})
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        # This very test and its shells name labs without being of one.
        if int(folder.name) != os.getpid():
            found.append(f"{folder.name} {name} {cgroups} {words}")
    return found


def _is_dead(folder: Path) -> bool:
    """Whether it has ended, and only init has yet to read how."""
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"


def processes_of(lab_id: str) -> list[int]:
    """Every process in the cgroups of a lab's hosts."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if (
                folder.name.isdigit()
                and not _is_dead(folder)
                and re.search(rf"litelab\W{lab_id}\W", (folder / "cgroup").read_text())
            ):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended
    return found


def host_cgroup(pid: int, controller: str) -> Path:
    """The folder of a process's cgroup, in the hierarchy that has the controller."""
    unified = ""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}")
        if not names:
            unified = path
    return Path(f"/sys/fs/cgroup{unified}")
