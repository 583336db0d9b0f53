#!/usr/bin/env python3
"""``sweep.py create|delete domains|volumes``: at the end, what of the lab no state knows: a run that was killed left it.

Environment: LAB_ID, the name of its pool and the beginning of its guests' names.
"""

from __future__ import annotations

import os
import sys

import virsh
from virsh import die


def delete(what: str) -> None:
    """Take them away, and say what could not be."""
    identity = os.environ["LAB_ID"]
    left = virsh.remove_guests(identity) if what == "domains" else virsh.remove_volumes(identity)
    if left:
        die(f"libvirt at {virsh.URI} keeps {what} of {identity}: {left}. Run destroy again when it lets them go.")


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["create", "domains" | "volumes"]:
            pass
        case ["delete", "domains" | "volumes" as what]:
            delete(what)
        case _:
            die("usage: sweep.py create|delete domains|volumes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
