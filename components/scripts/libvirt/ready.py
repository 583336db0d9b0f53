#!/usr/bin/env python3
"""``ready.py create|delete HOST``: waits until a guest answers ssh with the key it was given and its first settings are done.

Keeps its console in ``console-HOST.log`` meanwhile. Prints ``{"identity", "hostKey"}``. Environment: DOMAIN, ADDRESS,
HOST_KEY, SSH_TIMEOUT_S; THROUGH where guests are reached through libvirt's machine: then a way is opened, and its
``port`` is printed too.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import sshfiles
import virsh
from virsh import RUN, die

POLL_S = 0.2
BANNER_S = 10.0


class Console(threading.Thread):
    """What a guest prints on its serial port, in a file. virsh wants a terminal for it."""

    def __init__(self, domain: str, log: Path) -> None:
        super().__init__(daemon=True)
        self.log = log
        self._ours, theirs = pty.openpty()
        command = ["virsh", "--connect", virsh.CONNECT, "--quiet", "console", domain, "--force"]
        self._process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.STDOUT)
        os.close(theirs)
        self._stop = threading.Event()

    def run(self) -> None:
        """Copy until told to stop."""
        with self.log.open("wb") as file, contextlib.suppress(OSError):
            while not self._stop.is_set():
                if select.select([self._ours], [], [], POLL_S)[0]:
                    file.write(os.read(self._ours, 65536))
                    file.flush()

    def stop(self) -> None:
        """End it and its virsh."""
        self._stop.set()
        # It heeds no gentler signal while the guest is silent.
        self._process.kill()
        self._process.wait()

    def last_lines(self) -> str:
        """What a person would see at the end of it."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\n]", "", text)
        return " | ".join([line.strip() for line in plain.splitlines() if line.strip()][-5:])[-600:]


def way_to(host: str, address: str) -> int:
    """The port of this machine's loopback by which a guest is reached through libvirt's; opened if it is not."""
    import forward  # only labs on another machine have it

    if "administratively prohibited" in forward.last_words(RUN, host):
        die(f"{host}: {forward.explain(virsh.THROUGH, 'administratively prohibited')}")
    try:
        return forward.opened(RUN, host, virsh.THROUGH, f"{address}:22")
    except forward.ForwardError as error:
        die(f"{host}: {error}")


def answers(host: str, address: str) -> bool:
    """Whether an ssh server takes connections."""
    if not virsh.THROUGH:
        with contextlib.suppress(OSError), socket.create_connection((address, 22), 2):
            return True
        return False
    # The near end of a way always does: it is the far end that must say something.
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", way_to(host, address)), BANNER_S) as way:
        return way.recv(4) == b"SSH-"
    return False


def wait_for_ssh(host: str, domain: str, address: str, timeout_s: float, console: Console) -> None:
    """Until a login with the verified key finds cloud-init done.

    Ends the script with the last answer, the guest's state and its console's last lines.
    """
    deadline = time.monotonic() + timeout_s
    last, state, looked = "its port takes no connection", "", 0.0
    # sshd starts after cloud-init's second stage, which does all that a lab asks for; an image may have switched the rest off.
    done = (
        'test -e /run/cloud-init/result.json || test "$(systemctl is-enabled cloud-final.service)" = masked || '
        "{ echo cloud-init has not ended; exit 9; }; cat /run/cloud-init/result.json 2>/dev/null || true"
    )
    while time.monotonic() < deadline:
        if time.monotonic() - looked > 5:
            looked = time.monotonic()
            state = (virsh.lines("domstate", domain) or ["gone"])[0]
            if state in {"gone", "shut off", "crashed"}:
                die(
                    f"{host}: its guest {domain} is {state}. Its console ended: {console.last_lines() or 'without a word'}."
                )
        if answers(host, address):
            asked = subprocess.run(
                ["ssh", "-F", str(RUN / "ssh_config"), host, done],
                capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if asked.returncode == 0:
                _report(host, asked.stdout)
                return
            last = " ".join((asked.stdout + asked.stderr).split())[-200:]
        time.sleep(POLL_S)
    die(
        f"{host}: waited {timeout_s:.0f} s for ssh at {address}. Last answer: {last}. Its guest is {state}, and its console ended: "
        f"{console.last_lines() or 'without a word'}. The whole of it is {console.log}. A guest that says nothing under kvm never started: "
        "'make doctor' tries KVM, and hosts.accelerator: tcg does without."
    )


def _report(host: str, result: str) -> None:
    """Say what cloud-init did not like; what a lab needs of it has worked, or ssh would not."""
    errors = re.search(r'"errors": \[(.+?)\]', result, re.DOTALL)
    if errors:
        print(f"{host}: cloud-init reported {' '.join(errors[1].split())[:500]}", file=sys.stderr)


def create(host: str) -> None:
    """Wait, and say which machine this is."""
    domain, address = os.environ["DOMAIN"], os.environ["ADDRESS"]
    port = way_to(host, address) if virsh.THROUGH else 0
    sshfiles.add(host, f"127.0.0.1:{port}" if port else address, os.environ["HOST_KEY"])
    console = Console(domain, RUN / f"console-{host}.log")
    console.start()
    try:
        wait_for_ssh(host, domain, address, float(os.environ["SSH_TIMEOUT_S"]), console)
    finally:
        console.stop()
    virsh.step_done("host", host)
    identity = f"{host}-{(virsh.lines('domuuid', domain) or ['unknown'])[0]}"
    found = {"identity": identity, "hostKey": os.environ["HOST_KEY"], **({"port": port} if port else {})}
    json.dump(found, sys.stdout)


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["create", host]:
            create(host)
        case ["delete", host]:
            sshfiles.drop(host)
            if virsh.THROUGH:
                import forward

                forward.close(RUN, host)
            (RUN / f"console-{host}.log").unlink(missing_ok=True)
        case _:
            die("usage: ready.py create|delete HOST")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
