"""Runs a host's scripts here, its own folders stood in for by mounts that end with the script. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from components.steps.scripts import COMPONENTS, scripts_of

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="a host's own folders are stood in for by mounts")

_HOST = """
set -euo pipefail
mount -t tmpfs none /run
mount -t tmpfs none /var/lib
set --
"""


def on_host(
    script: str,
    *sourced: str,
    folder: Path | None = None,
    programs: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[str]:
    """Run bash on a host that has nothing in ``/run`` and ``/var/lib``.

    Args:
        script: what is run.
        sourced: scripts that it has sourced before: ``clusters/step.sh``.
        folder: for the programs; ``$DIR`` in all of them.
        programs: bash that stands in for a program, by the program's name.
        stdin: what the script reads.
    """
    for name, text in (programs or {}).items():
        assert folder is not None
        (folder / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    sources = "".join(f". '{scripts_of(part)}/{name}'\n" for part, _, name in (path.partition("/") for path in sourced))
    # Ours go first; step.sh puts its own before the machine's.
    path = "PATH=$DIR:$PATH\n" if folder else ""
    environment = {**os.environ, "COMPONENTS": str(COMPONENTS), "LC_ALL": "C", "DIR": str(folder or "")}
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", _HOST + sources + path + script],
        input=stdin,
        capture_output=True,
        env=environment,
        timeout=60,
        check=False,
    )
    # Hostile input may come back as it went in.
    said = [text.decode(errors="replace") for text in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(done.args, done.returncode, *said)


_EMPTY_HOST = """
set -euo pipefail
mkdir -p "$DIR/etc" && cp -a /etc/alternatives "$DIR/etc/"
for folder in /etc /opt /usr/local /root /var/lib /var/log /var/snap /run; do
  mkdir -p "$folder" && mount -t tmpfs none "$folder"
done
mkdir -p /run/litelab /var/lib/litelab /etc/systemd/system
cp -a "$DIR/etc/." /etc/
echo 'root:x:0:0::/root:/bin/bash' >/etc/passwd
ip link set lo up
put() { mkdir -p "$(dirname "$1")" && printf '%s\\n' "$2 $1" >"$1"; }
"""


def on_empty_host(
    script: str, folder: Path, programs: Mapping[str, str], path: Path
) -> subprocess.CompletedProcess[str]:
    """Run bash where all folders that a lab writes to are empty, in a network of its own.

    Args:
        script: what is run; ``put PATH WHOSE`` writes a file.
        folder: a temporary one.
        programs: bash that stands in for a program, by the program's name.
        path: a folder for these programs.
    """
    path.mkdir(parents=True)
    for name, text in programs.items():
        (path / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (path / name).chmod(0o755)
    return subprocess.run(
        ["unshare", "--mount", "--net", "bash", "-c", _EMPTY_HOST + script],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COMPONENTS": str(COMPONENTS), "DIR": str(folder), "PATH": f"{path}:{os.environ['PATH']}"},
    )  # fmt: skip
