"""Labs of 3, 10 and 100 workers: seconds of a preview and of Pulumi's own part of ``up``, bytes that each worker adds. No host is made.

``python3 -m tests.perf.scale [ROUNDS]``. Exit code 3 when a target is missed. Hosts are of the kind ``existing``, at addresses of
documentation, and of ``nspawn`` beside them. The ``up`` is of the same resources with commands that do nothing (``shape.py``). Bytes
are of what a preview shows of each resource: inputs, dependencies and options, without outputs. Between 10 and 100 workers each must add
as much as between 3 and 10: what grows with the square of the hosts shows here first.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.perf import shape
from tests.perf.rounds import NOOP_STACK, Figures, environment, interleave, pulumi, run, stack_of_its_own, timed
from tools import places

WORKERS = (3, 10, 100)
KINDS = ("existing", "nspawn")
NETWORK = "192.0.2"
"""TEST-NET-1 of RFC 5737: nobody's."""
PREVIEW_S = 15.0
GROWTH = 1.05
"""Of the bytes that one more worker adds; names and addresses get longer by a figure or two."""


def hosts_of(kind: str, workers: int, key: Path) -> str:
    """``hosts`` of a lab's settings, as JSON."""
    if kind != "existing":
        return json.dumps({"kind": kind})
    public = " ".join(key.with_suffix(".pub").read_text(encoding="utf-8").split()[:2])
    addresses = [f"{NETWORK}.{number}" for number in range(1, workers + 2)]
    keys = [f"{address} {public}" for address in addresses]
    return json.dumps({"kind": kind, "addresses": addresses, "key": str(key), "hostKeys": keys})


@contextlib.contextmanager
def stacks(key: Path) -> Iterator[dict[tuple[str, int], str]]:
    """A stack for each kind and number of workers, none of them ever up."""
    with contextlib.ExitStack() as stack:
        names = {}
        for kind, workers in itertools.product(KINDS, WORKERS):
            name = names[kind, workers] = f"perf-scale-{kind}-{workers}"
            settings = {"lab": "upstream-lab", "workers": str(workers), "hosts": hosts_of(kind, workers, key)}
            stack.enter_context(stack_of_its_own(name, places.PROJECT, **settings))
        yield names


def declared(stack: str) -> list[dict[str, Any]]:
    """What a preview shows of each resource."""
    words = ["pulumi", "preview", "--json", "--non-interactive", "--stack", stack]
    shown = subprocess.run(
        words, cwd=places.PROJECT, env=environment(), capture_output=True, check=True, stdin=subprocess.DEVNULL
    ).stdout
    # Where in a program a resource was declared is as long as the program's own path.
    without = ("sourcePosition", "stackTrace")
    return [{k: v for k, v in s["newState"].items() if k not in without} for s in json.loads(shown)["steps"]]


def size_of(resources: list[dict[str, Any]]) -> int:
    """Bytes of resources as JSON."""
    return sum(len(json.dumps(resource, separators=(",", ":"))) for resource in resources)


def main(rounds: int) -> int:
    """Measure and hold against the targets."""
    figures = Figures("scale of previews")
    with tempfile.TemporaryDirectory() as folder, shape.noop_program() as noop, stack_of_its_own(NOOP_STACK, noop):
        key = Path(folder) / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        with stacks(key) as names:
            shown = {one: declared(name) for one, name in names.items()}

            def preview(kind: str, workers: int) -> None:
                command = ["pulumi", "preview", "--non-interactive", "--stack", names[kind, workers]]
                figures.add(f"{kind}, {workers} workers", timed(command))

            def up(workers: int) -> None:
                entries = shape.entries(shown["existing", workers])
                (noop / "shape.json").write_text(json.dumps(entries), encoding="utf-8")
                figures.add(f"up of nothing, {workers} workers", pulumi("up", NOOP_STACK, cwd=noop))
                pulumi("destroy", NOOP_STACK, cwd=noop)

            previews = [lambda one=one: preview(*one) for one in names]
            interleave(figures, rounds, [*previews, *(lambda n=n: up(n) for n in WORKERS)])
    few, more, many = WORKERS
    for kind in KINDS:
        figures.hold(
            f"preview of {many} workers on {kind} hosts", figures.median(f"{kind}, {many} workers"), PREVIEW_S, "s"
        )
        sizes = {workers: size_of(shown[kind, workers]) for workers in WORKERS}
        early, late = ((sizes[b] - sizes[a]) / (b - a) for a, b in ((few, more), (more, many)))
        print(f"  {kind}: {early:.0f} bytes a worker from {few} to {more}, {late:.0f} from {more} to {many}")
        figures.hold(f"bytes that a worker adds on {kind} hosts, late / early", late / early, GROWTH)
    return figures.finish()


if __name__ == "__main__":
    run(main)
