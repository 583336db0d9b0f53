#!/usr/bin/env python3
"""``ready.py create|delete|restore HOST``: waits until a guest answers ssh with the key it was given and its first settings are done.

Keeps its console in ``console-HOST.log`` meanwhile. Prints ``{"identity", "hostKey"}``. Environment: DOMAIN, ADDRESS,
HOST_KEY, SSH_TIMEOUT_S; ``restore`` only writes how the guest is reached. THROUGH where guests are reached through libvirt's machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import hostio
import virsh
from virsh import RUN, die

POLL_S = 0.2
POLL_THROUGH_S = 1.0
"""Each try is a login to libvirt's machine."""


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


def proxy() -> str:
    """The ProxyCommand that leads through libvirt's machine, which the operator's own ssh configuration knows."""
    import forward  # only labs on another machine have it

    words = shlex.join([*forward.login(virsh.THROUGH), "-W"]).replace("%", "%%")
    return f"{words} '[%h]:%p' -- {shlex.quote(forward.machine(virsh.THROUGH))}"


def answers(address: str) -> bool:
    """Whether an ssh server takes connections, as far as that is seen from here."""
    if virsh.THROUGH:
        return True
    with contextlib.suppress(OSError), socket.create_connection((address, 22), 2):
        return True
    return False


def refuse_if_nobody_gets_through(host: str, said: str) -> None:
    """End the script when libvirt's machine lets nobody on to its guests: no time heals that."""
    if virsh.THROUGH and "administratively prohibited" in said:
        import forward

        die(f"{host}: {forward.explain(virsh.THROUGH, said)}")


def wait_for_ssh(host: str, domain: str, address: str, timeout_s: float, console: Console) -> None:
    """Until a login with the verified key finds cloud-init done.

    Ends the script with the last answer, the guest's state and its console's last lines.
    """
    deadline = time.monotonic() + timeout_s
    last, state, looked = "its port takes no connection", "", 0.0
    # sshd starts after cloud-init's second stage, which does all that a lab asks for; an image may have switched the rest off.
    done = (
        'test -e /run/cloud-init/result.json || test "$(systemctl is-enabled cloud-final.service)" = masked || '
        "{ echo cloud-init has not ended >&2; exit 9; }; cat /run/cloud-init/result.json 2>/dev/null || true"
    )
    while time.monotonic() < deadline:
        if time.monotonic() - looked > 5:
            looked = time.monotonic()
            state = (virsh.lines("domstate", domain) or ["gone"])[0]
            if state in {"gone", "shut off", "crashed"}:
                die(
                    f"{host}: its guest {domain} is {state}. Its console ended: {console.last_lines() or 'without a word'}."
                )
        if answers(address):
            try:
                _report(host, hostio.ask(RUN, host, done, limit_s=120))
            except hostio.AnswerError as error:
                refuse_if_nobody_gets_through(host, error.said)
                last = str(error)[-200:]
            else:
                return
        time.sleep(POLL_THROUGH_S if virsh.THROUGH else POLL_S)
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


def put_record(host: str, address: str) -> None:
    """Write how the guest is reached."""
    # An emulated guest takes its time to answer.
    record = {"Address": address, "Identity": "id_ed25519", "HostKey": os.environ["HOST_KEY"], "ConnectS": "30"}
    hostio.put_record(RUN, host, {**record, "ProxyCommand": proxy()} if virsh.THROUGH else record)


def create(host: str) -> None:
    """Wait, and say which machine this is."""
    domain, address = os.environ["DOMAIN"], os.environ["ADDRESS"]
    put_record(host, address)
    console = Console(domain, RUN / f"console-{host}.log")
    console.start()
    try:
        wait_for_ssh(host, domain, address, float(os.environ["SSH_TIMEOUT_S"]), console)
    finally:
        console.stop()
    virsh.step_done("host", host)
    identity = f"{host}-{(virsh.lines('domuuid', domain) or ['unknown'])[0]}"
    json.dump({"identity": identity, "hostKey": os.environ["HOST_KEY"]}, sys.stdout)


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["create", host]:
            create(host)
        case ["delete", host]:
            hostio.drop_record(RUN, host)
            (RUN / f"console-{host}.log").unlink(missing_ok=True)
        case ["restore", host]:
            put_record(host, os.environ["ADDRESS"])
        case _:
            die("usage: ready.py create|delete|restore HOST")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
