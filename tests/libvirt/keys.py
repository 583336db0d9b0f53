"""Keys of ssh servers and of who logs in."""

import subprocess
from pathlib import Path


def make_key(file: Path, password: str = "") -> tuple[str, str]:
    """Make a key pair and return its private and public half."""
    subprocess.run(
        [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            password,
            "-C",
            "",
            "-f",
            str(file),
        ],
        check=True,
    )
    return file.read_text(), file.with_suffix(".pub").read_text().strip()
