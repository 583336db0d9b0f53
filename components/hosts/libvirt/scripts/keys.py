#!/usr/bin/env python3
"""``keys.py create|delete|restore client|HOST``: a new ssh key, the operator's for the whole stack or one host's own.

Prints ``{"private", "public"}`` in OpenSSH's form, which is kept secret. The client's is left in the run folder too; ``restore``
writes it there again from the state (``{"stdout": what was printed, ...}``).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from virsh import RUN, STACK, die, write


def pair(folder: Path, name: str, comment: str) -> dict[str, str]:
    """A new key pair in OpenSSH's form."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], check=True)
    public = " ".join(path.with_suffix(".pub").read_text(encoding="utf-8").split()[:2])
    return {"private": path.read_text(encoding="utf-8"), "public": public}


def create(whose: str) -> None:
    """Make it, and put the client's in place."""
    with tempfile.TemporaryDirectory() as folder:
        made = pair(Path(folder), "key", f"litelab-{STACK}" if whose == "client" else whose)
    if whose == "client":
        put(made)
    json.dump(made, sys.stdout)


def put(made: dict[str, str]) -> None:
    """Leave the client's key in the run folder."""
    write(RUN / "id_ed25519", made["private"])
    write(RUN / "id_ed25519.pub", f"{made['public']}\n")


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["create", whose]:
            create(whose)
        case ["delete", "client"]:
            for name in ("id_ed25519", "id_ed25519.pub"):
                (RUN / name).unlink(missing_ok=True)
        case ["restore", "client"]:
            put(json.loads(json.load(sys.stdin)["stdout"]))
        case ["delete" | "restore", _]:
            pass
        case _:
            die("usage: keys.py create|delete|restore client|HOST")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
