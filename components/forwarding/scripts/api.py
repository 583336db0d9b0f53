#!/usr/bin/env python3
"""``api.py create|delete|restore``: a way to each API server of a lab whose hosts are reached through another machine.

Standard input: the kubeconfig as the cluster gave it. Prints the same with loopback addresses, each checked by its
certificate for the address that the server has on the machine. ``restore`` gets both from the state, as ``{"stdin", "stdout"}``,
and notes the ports for ``forward.py reopen``. Environment: THROUGH, as ``forward.py`` has it.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forward

RUN = Path(__file__).resolve().parent.parent
PREFIX = "api-"
"""Of the names of these ways."""


def through_ways(config: dict[str, Any], port_for: Callable[[str], int]) -> dict[str, Any]:
    """A kubeconfig's content with every server reached at a port of this machine, given for ``ADDRESS:PORT``."""
    clusters = []
    for entry in config["clusters"]:
        cluster = dict(entry["cluster"])
        parts = urllib.parse.urlsplit(cluster["server"])
        local = f"{forward.LOOPBACK}:{port_for(f'{parts.hostname}:{parts.port or 443}')}"
        cluster["server"] = parts._replace(netloc=local).geturl()
        # Certificates need not have the loopback address, and that of the server says which one it is.
        cluster.setdefault("tls-server-name", parts.hostname)
        clusters.append({**entry, "cluster": cluster})
    return {**config, "clusters": clusters}


def create(text: str, through: str) -> str:
    """Open a way to each server, end those to others, and say how they are reached."""
    import yaml  # only here: the end of a lab may come without Python packages

    wanted: list[str] = []

    def port_for(target: str) -> int:
        wanted.append(PREFIX + target.replace(":", "-"))
        return forward.opened(RUN, wanted[-1], through, target)

    found = json.dumps(through_ways(yaml.safe_load(text), port_for), indent=1) + "\n"
    _close_others(wanted)
    return found


def restore(text: str, printed: str, through: str) -> None:
    """Note the ports that the lab's kubeconfig has, each with what it leads to."""
    for before, after in zip(_servers(text), _servers(printed), strict=True):
        target = f"{before.hostname}:{before.port or 443}"
        forward.note(RUN, PREFIX + target.replace(":", "-"), through, target, after.port or 443)


def _servers(text: str) -> list[urllib.parse.SplitResult]:
    import yaml  # as above

    return [urllib.parse.urlsplit(entry["cluster"]["server"]) for entry in yaml.safe_load(text)["clusters"]]


def _close_others(wanted: list[str]) -> None:
    for name in forward.names(RUN):
        if name.startswith(PREFIX) and name not in wanted:
            forward.close(RUN, name)


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["create"]:
            try:
                sys.stdout.write(create(sys.stdin.read(), os.environ["THROUGH"]))
            except forward.ForwardError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
        case ["delete"]:
            _close_others([])
        case ["restore"]:
            state = json.load(sys.stdin)
            restore(state["stdin"], state["stdout"], os.environ["THROUGH"])
        case _:
            print("usage: api.py create|delete|restore", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
