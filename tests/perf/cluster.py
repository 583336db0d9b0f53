"""The default lab's cluster, from nothing to all nodes Ready, then no change, then destroy: Litelab's, against shell and no-op.

``python3 -m tests.perf.cluster [ROUNDS]``. Exit code 3 when a target is missed, 1 when shell and lab do not install the same. Each
round takes all three in turn, warm. Held, of medians: ``up <= 1.1 x shell + no-op``, a no-change ``up <= 3 x`` the no-op program's,
``destroy <= 1.25 x shell + no-op``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.perf.rounds import (
    NOOP_STACK,
    SHELL_FOLDER,
    Figures,
    interleave,
    pulumi,
    run,
    shell_down,
    shell_up,
    stack_of_its_own,
)
from tests.perf.shape import noop_program, write_shape
from tools import places

STACK = "perf-cluster"
UP_LIMIT, UNCHANGED_LIMIT, DESTROY_LIMIT = 1.1, 3.0, 1.25
INSTALLED = (
    "etc/systemd/system/*.service",
    "etc/containerd/config.toml",
    "etc/kubernetes/*.yaml",
    "etc/kubernetes/flannel.json",
    "opt/litelab/upstream/bin/*",
    "opt/litelab/upstream/images/*",
    "opt/litelab/upstream/cni/*",
)
SMALL = 1 << 16
OF_HOSTS = "litelab-boot.service"
"""hosts.py measures how machines are made; here it is told apart only by what is installed on them."""


def installed(run_folder: Path) -> dict[str, str]:
    """What a standing lab's hosts have that makes the cluster: small files by content, large ones by size."""
    names = dict(line.split("=", 1) for line in (run_folder / "lab.env").read_text(encoding="utf-8").splitlines())
    found = {}
    for layer in sorted(run_folder.glob("hosts/*/upper")):
        for path in (p for pattern in INSTALLED for p in layer.glob(pattern)):
            if path.is_symlink() or not path.is_file() or path.name == OF_HOSTS:
                continue
            size = path.stat().st_size
            text = path.read_text(encoding="utf-8") if size < SMALL and "bin" not in path.parts else f"{size} bytes"
            found[str(path.relative_to(run_folder))] = text.replace(names["PREFIX"], "PREFIX")
    return found


def hold_alike(lab: dict[str, str], shell: dict[str, str]) -> None:
    """Refuse to compare what is not the same installation.

    Raises:
        SystemExit: naming the files.
    """
    differ = sorted(path for path in lab.keys() | shell.keys() if lab.get(path) != shell.get(path))
    if differ or not lab:
        sys.exit(
            f"The lab and tests/perf/cluster.sh do not install the same: {', '.join(differ) or 'nothing was found'}. "
            "Change cluster.sh as the lab's scripts were changed; then run the same command again."
        )


def main(rounds: int) -> int:
    """Measure and hold against the targets."""
    figures = Figures("cluster to Ready")
    with (
        noop_program() as noop,
        stack_of_its_own(STACK, lab="upstream-lab", workloads="[]"),
        stack_of_its_own(NOOP_STACK, noop),
    ):

        def litelab() -> None:
            figures.add("litelab up", pulumi("up", STACK))
            figures.add("litelab no change", pulumi("up", STACK, "--expect-no-changes"))
            figures.add("litelab destroy", pulumi("destroy", STACK))

        def plain() -> None:
            with shell_up("cluster.sh", CLUSTER=STACK) as seconds:
                figures.add("shell up", seconds)
                hold_alike(of_lab, installed(SHELL_FOLDER))
                figures.add("shell destroy", shell_down("cluster.sh", CLUSTER=STACK))

        def nothing() -> None:
            figures.add("no-op up", pulumi("up", NOOP_STACK, cwd=noop))
            figures.add("no-op no change", pulumi("up", NOOP_STACK, "--expect-no-changes", cwd=noop))
            figures.add("no-op destroy", pulumi("destroy", NOOP_STACK, cwd=noop))

        # Once before all rounds: every program's pages are in memory, and the no-op program has its shape.
        pulumi("up", STACK)
        write_shape(noop, STACK)
        of_lab = installed(places.OWN / "run" / STACK)
        pulumi("destroy", STACK)
        interleave(figures, rounds, [litelab, plain, nothing])
    figures.hold_beside("litelab up", "shell up", "no-op up", UP_LIMIT)
    unchanged = figures.median("litelab no change") / figures.median("no-op no change")
    figures.hold("litelab no change / no-op no change", unchanged, UNCHANGED_LIMIT)
    figures.hold_beside("litelab destroy", "shell destroy", "no-op destroy", DESTROY_LIMIT)
    return figures.finish()


if __name__ == "__main__":
    run(main)
