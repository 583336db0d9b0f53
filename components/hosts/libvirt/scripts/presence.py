#!/usr/bin/env python3
"""``presence.py look|start HOST``: whether a guest is there, as ``STATE REASON``; a guest that is off is started.

States: running; off (it can be started and loses nothing); gone (libvirt does not know it any more); unreachable. Environment:
LITELAB_RUN, the lab's run folder, and what ``ready.py`` takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "forwarding" / "scripts"))
import virsh

RUN = Path(os.environ["LITELAB_RUN"])
SSH_S = 20


def login(host: str) -> str:
    """Nothing when the guest answers over ssh, which checks its key; else ssh's last words."""
    command = ["ssh", "-F", str(RUN / "ssh_config"), "-o", "ConnectTimeout=5", host, "true"]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SSH_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {SSH_S} s"
    return (said.stderr.strip().splitlines() or ["ssh failed"])[-1] if said.returncode else ""


def look(host: str, domain: str) -> str:
    """State and reason."""
    code, out, said = virsh.call("domstate", domain)
    state = out.strip()
    if code != 0:
        return (
            f"gone libvirt has no guest {domain}"
            if "not found" in said or "failed to get domain" in said
            else f"unreachable libvirt says: {said}"
        )
    if state != "running":
        return f"off its guest {domain} is {state}"
    said = login(host)
    return f"unreachable its guest {domain} runs, and ssh does not answer ({said})" if said else "running"


def start(host: str, domain: str) -> None:
    """The guest, and what it stands on; waits until it answers over ssh."""
    lab = domain.removesuffix(f"-{host}")
    # A restart of libvirt's machine ends both, for neither starts by itself.
    for words in (("pool-start", lab), ("net-start", lab)):
        virsh.call(*words)
    state = (virsh.lines("domstate", domain) or ["gone"])[0]
    code, _, said = virsh.call("resume" if state == "paused" else "start", domain)
    if code != 0 and "already active" not in said:
        virsh.die(f"{host}: its guest {domain} is {state} and could not be started: {said}")
    limit = float(os.environ.get("SSH_TIMEOUT_S", "180"))
    deadline, last = time.monotonic() + limit, "not asked"
    while time.monotonic() < deadline:
        last = login(host)
        if not last:
            return
        time.sleep(1)
    virsh.die(
        f"{host}: its guest {domain} was started, and ssh did not answer within {limit:.0f} s. Last answer: {last}."
    )


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["look", host]:
            print(look(host, os.environ["DOMAIN"]))
        case ["start", host]:
            start(host, os.environ["DOMAIN"])
        case _:
            virsh.die("usage: presence.py look|start HOST")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
