"""Runs a host's scripts here, its own folders stood in for by mounts that end with the script. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from components.steps import SCRIPTS

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
        sourced: scripts that it has sourced before, below ``components/scripts``.
        folder: for the programs; ``$DIR`` in all of them.
        programs: bash that stands in for a program, by the program's name.
        stdin: what the script reads.
    """
    for name, text in (programs or {}).items():
        assert folder is not None
        (folder / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    sources = "".join(f'. "$SCRIPTS/{path}"\n' for path in sourced)
    # Ours go first; step.sh puts its own before the machine's.
    path = "PATH=$DIR:$PATH\n" if folder else ""
    environment = {**os.environ, "SCRIPTS": str(SCRIPTS), "LC_ALL": "C", "DIR": str(folder or "")}
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
