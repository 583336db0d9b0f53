#!/usr/bin/env python3
"""``clear.py Domain|Volume|CloudInitDisk|Network|Pool NAME POOL``: removes what has the name of a thing that is to be made.

The state knows no such thing, and its name has the lab's random id in it, or is in the lab's own pool: so a run of this lab that
was killed, or a start that failed, has left it.
"""

from __future__ import annotations

import sys

import virsh
from virsh import die


def main(arguments: list[str]) -> int:
    """Take it away."""
    match arguments:
        case ["Domain", name, _]:
            said = virsh.remove_domain(name)
        case ["Volume" | "CloudInitDisk", name, pool]:
            said = virsh.remove_volume(pool, name)
        case ["Network", name, _]:
            said = virsh.remove_network(name)
        case ["Pool", name, _]:
            said = virsh.remove_pool(name)
        case _:
            die("usage: clear.py Domain|Volume|CloudInitDisk|Network|Pool NAME POOL")
    if said:
        die(
            f"{arguments[1]} is left in libvirt at {virsh.URI} by an earlier run and can't be removed: {said}. Fix that and run the same command again."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
