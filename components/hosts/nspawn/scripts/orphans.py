"""What nspawn labs have on this machine, and which of them nobody owns any more.

``orphans.py list [--of RUN]``: a line per lab that no Pulumi state here knows; exit code 1 when one of them is an orphan.
``orphans.py find [--of RUN] [ID...]``: id, run folder and hosts, between unit separators, of each lab that may be removed; 1 and one paragraph for an ID that may not.
``orphans.py run-of ID``: the folder that the lab is run from now, also when it was moved; nothing when it is gone.

A lab whose hosts run is never an orphan: its checkout may have been moved, or its state may be in another backend.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "ssh" / "scripts"))
import labstate

REGISTRY = Path("/run/litelab/labs")
NAMESPACES = Path("/run/netns")
CGROUPS = Path("/sys/fs/cgroup")
MOUNTS = Path("/proc/self/mountinfo")
LAB_ID = r"[a-z0-9][a-z0-9-]*-[0-9a-f]{6}"
HOST = r"host-[0-9]+"


@dataclass(frozen=True)
class Mount:
    """A mount: device, its root within that device's file system, where it is, and its source."""

    device: str
    root: str
    point: str
    source: str


@dataclass(frozen=True)
class Lab:
    """What there is of a lab.

    Attributes:
        id: its name on the machine.
        run: its run folder now, or None when that is gone.
        told: its run folder as it was when the lab was made.
        hosts: names of hosts that left anything.
        processes: how many processes its hosts have.
        known: whether the Pulumi state beside its run folder has nspawn hosts.
    """

    id: str
    run: Path | None = None
    told: str = ""
    hosts: tuple[str, ...] = ()
    processes: int = 0
    known: bool = False

    @property
    def is_orphan(self) -> bool:
        """Whether nobody owns it: no state knows it, and none of its hosts runs."""
        return not self.known and not self.processes

    def __str__(self) -> str:
        """One line, which names what removes it."""
        place = str(self.run) if self.run else f"{self.told or 'a folder'}, which is gone"
        hosts = " ".join(self.hosts) or "no hosts"
        if not self.processes:
            return f"lab {self.id}: {hosts} of {place}; no state knows it. 'make orphans REMOVE={self.id}' removes it."
        owner = f"'make destroy STACK={self.run.name}' in {self.run.parents[2]} removes it; or, " if self.run else ""
        return (
            f"lab {self.id}: {hosts} of {place}; its hosts run ({self.processes} processes), so it is no orphan, and no state here knows it. "
            f"{owner}if nobody needs it, 'make orphans REMOVE={self.id}'."
        )


def mounts(mountinfo: str) -> list[Mount]:
    """Every mount of a mountinfo file."""
    found = []
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        columns, rest = before.split(" "), after.split(" ")
        if dash and len(columns) >= 5 and len(rest) >= 2:
            found.append(Mount(columns[2], unescaped(columns[3]), unescaped(columns[4]), unescaped(rest[1])))
    return found


def unescaped(text: str) -> str:
    """A path as the kernel writes it in mountinfo, with blanks and others as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def ids(names: Iterable[str], namespaces: Iterable[str], mounted: Iterable[Mount], cgroups: Iterable[str]) -> list[str]:
    """Every lab that the machine shows any trace of: its list, namespaces, mounts, cgroups (paths below the hierarchy)."""
    found = set(names)
    found.update(m[1] for n in namespaces if (m := re.fullmatch(rf"litelab-(.+?)(?:-{HOST})?", n)))
    for mount in mounted:
        if m := re.fullmatch(rf"litelab-({LAB_ID})", mount.source) or re.match(rf"{REGISTRY}/({LAB_ID})/", mount.point):
            found.add(m[1])
    found.update(m[1] for path in cgroups if (m := re.search(rf"litelab/({LAB_ID})(?:/|$)", path)))
    found.update(m[1] for path in cgroups if (m := re.search(rf"/litelab-({LAB_ID})-{HOST}\.service$", path)))
    return sorted(name for name in found if re.fullmatch(LAB_ID, name))


def folders(lab: str, mounted: Sequence[Mount]) -> list[Path]:
    """Where a lab's hosts are mounted from: run folders, as paths are now. Mounts follow a folder that is moved."""
    found = []
    for mount in mounted:
        if re.fullmatch(rf"{REGISTRY}/{re.escape(lab)}/{HOST}", mount.point):
            for base in mounted:
                below = mount.root.removeprefix(base.root.rstrip("/"))
                if (
                    base.device == mount.device
                    and base.point != mount.point
                    and below.startswith("/")
                    and below != mount.root + "/"
                ):
                    found.append(Path(base.point.rstrip("/") + below))
        elif mount.source == f"litelab-{lab}" and re.search(rf"/hosts/{HOST}/root$", mount.point):
            found.append(Path(mount.point).parent)
    # RUN/hosts/host-1
    return [path.parents[1] for path in found if path.parent.name == "hosts"]


def lab_of(run: Path) -> str:
    """The lab that a run folder says it is of."""
    try:
        found = re.search(r"(?m)^LAB_ID=(.+)$", (run / "lab.env").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def run_of(lab: str, mounted: Sequence[Mount], registry: Path = REGISTRY) -> tuple[Path | None, str]:
    """A lab's run folder now, and as it was told."""
    told = _text(registry / lab / "run").strip()
    candidates = [*folders(lab, mounted), *([Path(told)] if told else [])]
    mine = [path for path in candidates if lab_of(path) == lab]
    # A lab.env that is gone or broken says nothing.
    return next(iter(mine or [path for path in candidates if path.is_dir() and not lab_of(path)]), None), told


def is_known(run: Path | None) -> bool:
    """Whether the Pulumi state beside a run folder has nspawn hosts."""
    return run is not None and labstate.is_known(run, "litelab:hosts:NspawnHosts")


def processes(lab: str, cgroups: Mapping[str, int]) -> int:
    """How many processes a lab's hosts have, from how many each cgroup has."""
    own = re.compile(rf"(/|^)litelab/{re.escape(lab)}(/|$)|/litelab-{re.escape(lab)}-{HOST}\.service(/|$)")
    # One process is in a cgroup of each hierarchy on v1.
    by_hierarchy: dict[str, int] = {}
    for path, number in cgroups.items():
        if own.search(path):
            top = path.partition("litelab")[0]
            by_hierarchy[top] = by_hierarchy.get(top, 0) + number
    return max(by_hierarchy.values(), default=0)


def hosts_of(
    lab: str, run: Path | None, namespaces: Iterable[str], cgroups: Iterable[str], mounted: Iterable[Mount]
) -> tuple[str, ...]:
    """Names of a lab's hosts that left anything."""
    name = re.escape(lab)
    found = {m[1] for n in namespaces if (m := re.fullmatch(rf"litelab-{name}-({HOST})", n))}
    found.update(m[1] for p in cgroups if (m := re.search(rf"litelab/{name}/({HOST})(?:/|$)", p)))
    found.update(m[1] for p in cgroups if (m := re.search(rf"/litelab-{name}-({HOST})\.service", p)))
    found.update(m[1] for mount in mounted if (m := re.match(rf"{REGISTRY}/{name}/({HOST})(?:/|$)", mount.point)))
    found.update(p.stem for p in (REGISTRY / lab).glob("host-*.pid"))
    if run is not None:
        found.update(p.name for p in (run / "hosts").glob("host-*") if p.is_dir())
    return tuple(sorted((h for h in found if re.fullmatch(HOST, h)), key=lambda h: int(h.rpartition("-")[2])))


def labs() -> list[Lab]:
    """Every lab that this machine shows any trace of, also after each has been looked at: one may end meanwhile."""
    mounted, namespaces, cgroups = _traces()
    found = []
    for lab in ids(_listed(), namespaces, mounted, cgroups):
        run, told = run_of(lab, mounted)
        hosts = hosts_of(lab, run, namespaces, cgroups, mounted)
        found.append(Lab(lab, run, told, hosts, processes(lab, cgroups), is_known(run)))
    mounted, namespaces, cgroups = _traces()
    there = ids(_listed(), namespaces, mounted, cgroups)
    return [lab for lab in found if lab.id in there]


def _traces() -> tuple[list[Mount], list[str], dict[str, int]]:
    return mounts(_text(MOUNTS)), sorted(p.name for p in NAMESPACES.glob("litelab-*")), _cgroups()


def _listed() -> list[str]:
    return [p.name for p in REGISTRY.glob("*")]


def _cgroups() -> dict[str, int]:
    """Each cgroup of labs, below any hierarchy, and how many processes it has."""
    tops = [*CGROUPS.glob("litelab"), *CGROUPS.glob("*/litelab"), *CGROUPS.glob("litelab.slice")]
    found = {}
    for top in (t for t in tops if not t.parent.is_symlink()):
        for folder, _, _ in os.walk(top):
            found[folder] = len(_text(Path(folder, "cgroup.procs")).split())
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def refusal(lab: str, there: Sequence[Lab]) -> str:
    """Why a lab that was named is not removed, or nothing."""
    found = next((one for one in there if one.id == lab), None)
    if found is None:
        if not re.fullmatch(LAB_ID, lab) or lab.startswith("litelab-"):
            # Another kind's.
            return ""
        return f"there is no lab {lab!r} on this machine. 'make orphans' lists what may be removed, each by its name."
    if found.known and found.run:
        return (
            f"lab {lab} is no orphan: the stack {found.run.name} of {found.run.parents[2]} has it. 'make destroy STACK={found.run.name}' "
            "there removes it."
        )
    return ""


def main(arguments: list[str]) -> int:
    """Run one verb."""
    verb, rest = arguments[0], arguments[1:]
    of = ""
    if rest[:1] == ["--of"]:
        of, rest = os.path.realpath(rest[1]), rest[2:]
    if verb == "run-of":
        run, _ = run_of(rest[0], mounts(_text(MOUNTS)))
        print(run or "")
        return 0
    there = labs()
    if of:
        there = [lab for lab in there if not lab.known and (str(lab.run) == of or (lab.run is None and lab.told == of))]
    if verb == "list":
        shown = [lab for lab in there if not lab.known]
        for lab in shown:
            print(lab)
        return int(any(lab.is_orphan for lab in shown))
    for name in rest:
        if why := refusal(name, there):
            print(f"error: {why}", file=sys.stderr)
            return 1
    for lab in there:
        if of or lab.id in rest:
            print(lab.id, lab.run or "", " ".join(lab.hosts), sep="\x1f")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
