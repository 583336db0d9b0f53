"""Commands on a lab's hosts, by the scripts that its steps use (``components/ssh/scripts``)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from components.steps.scripts import scripts_of

SCRIPTS = scripts_of("ssh")


def ask(run: Path, host: str) -> list[str]:
    """The start of a command whose last word root's bash runs on a host of a lab; its output is the answer alone."""
    return [str(SCRIPTS / "ask.sh"), str(run), host]


def restore(run: Path) -> None:
    """Write a lab's ssh configuration again where it is missing, or the checkout was moved."""
    subprocess.run([str(SCRIPTS / "records.sh"), str(run), "restore"], check=False, stdin=subprocess.DEVNULL)
