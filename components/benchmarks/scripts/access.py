#!/usr/bin/env python3
"""``access.py create|delete|restore``: what a person and the benchmarks need to reach a lab, as files in its run folder.

Standard input: ``{"kubeconfig": text, "hosts": the hosts file without sshConfig}``. Writes ``kubeconfig`` and ``hosts.json``, both
readable by their owner alone, each whole or not at all. ``restore`` gets ``{"stdin": that, ...}`` from the state.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

RUN = Path(__file__).resolve().parent.parent


def write(path: Path, text: str) -> None:
    """Replace a file by one of mode 0600 that holds ``text``."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["create" | "restore" as verb]:
            request = json.load(sys.stdin)
            if verb == "restore":
                request = json.loads(request["stdin"])
            hosts = request["hosts"]
            for host in hosts["hosts"]:
                # Beside this file: the checkout may be moved.
                host["sshConfig"] = "ssh_config"
            write(RUN / "hosts.json", json.dumps(hosts, indent=1) + "\n")
            write(RUN / "kubeconfig", request["kubeconfig"])
            return 0
        case ["delete"]:
            for name in ("kubeconfig", "hosts.json", "kubeconfig.lock"):
                (RUN / name).unlink(missing_ok=True)
            return 0
    print("usage: access.py create|delete|restore", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
