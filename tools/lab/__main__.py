"""``python3 -m tools.lab``: what ``make lab``, ``make destroy``, ``make status`` and the like do around Pulumi."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys

from tools import console, places, program
from tools.lab import lifecycle, stacks
from tools.setup.doctor import require_places


def main(arguments: list[str]) -> int:
    """Run one verb."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.lab")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("status", "logs", "kubeconfig"):
        verbs.add_parser(verb).add_argument("stack")
    for verb in ("lab", "destroy"):
        changing = verbs.add_parser(verb)
        changing.add_argument("stack")
        changing.add_argument("--gone", default="", help="hosts that will never answer again, with blanks between")
    up = verbs.add_parser("up", help="whether a lab is up, and has this host")
    up.add_argument("stack")
    up.add_argument("host", nargs="?", default="")
    bench = verbs.add_parser("bench")
    bench.add_argument("stack")
    bench.add_argument("workload")
    bench.add_argument("--repeats", default="3")
    verbs.add_parser(
        "passphrase", help="give a stack that was made with another passphrase this checkout's"
    ).add_argument("stack")
    new = verbs.add_parser("stack")
    new.add_argument("name")
    new.add_argument("lab")
    given = parser.parse_args(arguments)
    cache = places.cache()
    match given.verb:
        case "passphrase":
            stacks.change_passphrase(cache, given.stack)
            return 0
        case "kubeconfig":
            return lifecycle.kubeconfig(given.stack)
        case "up":
            return lifecycle.require_up(given.stack, given.host)
        case "status":
            return lifecycle.status(cache, given.stack)
        case "logs":
            return lifecycle.logs(cache, given.stack)
    if given.verb in {"lab", "stack"}:
        require_places(cache)
    progress = program.begin(cache)
    match given.verb:
        case "lab":
            return lifecycle.up(cache, given.stack, progress, lifecycle.gone_hosts(given.gone))
        case "destroy":
            return lifecycle.destroy(cache, given.stack, progress, lifecycle.gone_hosts(given.gone))
        case "bench":
            return lifecycle.bench(cache, given.stack, given.workload, given.repeats)
        case "stack":
            stacks.create_from(cache, given.name, given.lab, progress)
    return 0


RECORDED = ("lab", "destroy", "bench")
"""Verbs of which ``make logs`` has what they printed."""


def _recorded(arguments: list[str]) -> contextlib.AbstractContextManager[None]:
    match arguments:
        case [verb, stack, *_] if verb in RECORDED and re.fullmatch(stacks.STACK_NAME, stack) and places.OWN.is_dir():
            return console.recorded(places.OWN / "logs" / f"{stack}.{verb}.log")
    return contextlib.nullcontext()


if __name__ == "__main__":
    program.run(main, _recorded(sys.argv[1:]))
