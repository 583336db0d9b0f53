"""How guests of a libvirt on another machine are reached: through it, by the operator's own ssh configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.steps.scripts import scripts_of

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILWBcIbHkD/3xHoyFAvxaHjN4bRMX6qDLXUstH+MqyoF"


def proxy(through: str) -> str:
    """``ready.py``'s ProxyCommand."""
    path = os.pathsep.join(str(scripts_of(part)) for part in ("libvirt", "forwarding", "ssh"))
    done = subprocess.run(
        [sys.executable, "-c", "import ready; print(ready.proxy())"],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "THROUGH": through, "PYTHONPATH": path},
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("through", "words"),
    [
        ("ssh://me@big.example:2222?keyfile=/home/me/.ssh/lab", "-l me -p 2222 -i /home/me/.ssh/lab -W [10.87.3.11]:22 -- big.example"),
        ("ssh://me@big.example?keyfile=/home/me/100%h%20key", "-l me -i '/home/me/100%h key' -W [10.87.3.11]:22 -- big.example"),
        ("ssh://first.last@10.0.0.1", "-l first.last -W [10.87.3.11]:22 -- 10.0.0.1"),
    ],
)  # fmt: skip
def test_ssh_is_led_through_the_machine(tmp_path: Path, through: str, words: str) -> None:
    record = f"Address 10.87.3.11\nIdentity id_ed25519\nHostKey {KEY}\nProxyCommand {proxy(through)}\n"
    subprocess.run([scripts_of("ssh") / "records.sh", tmp_path, "put", "host-1"], input=record, text=True, check=True)
    double = tmp_path / "bin" / "ssh"
    double.parent.mkdir()
    double.write_text('#!/bin/bash\nprintf "%s|" "$@" >"$SAW"\nexit 255\n')
    double.chmod(0o755)
    real = subprocess.run(["which", "ssh"], capture_output=True, text=True, check=True).stdout.strip()
    environment = {
        **os.environ,
        "PATH": f"{double.parent}:{os.environ['PATH']}",
        "SAW": str(tmp_path / "saw"),
        "SHELL": "/bin/sh",
    }
    tried = subprocess.run(
        [real, "-F", str(tmp_path / "ssh_config"), "host-1", "true"], env=environment, capture_output=True, timeout=60, check=False
    )  # fmt: skip
    assert tried.returncode == 255
    given = (tmp_path / "saw").read_text()
    expected = (
        re.sub(r"'([^']*)'", lambda found: found[1].replace(" ", "\0"), words).replace(" ", "|").replace("\0", " ")
    )
    assert given.endswith(f"|{expected}|")
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no", "ControlMaster=no"):
        assert f"|{option}|" in f"|{given}"
