"""``ssh_config`` and ``known_hosts`` in the run folder, from one file ``ssh/HOST`` a host: ``ADDRESS[:PORT] KEYTYPE KEY``."""

from __future__ import annotations

import fcntl
import shutil

from virsh import RUN, STACK
from virsh import write as write_file

HOSTS = RUN / "ssh"
COMMON = {
    "User": "root",
    "Ciphers": "aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-ctr",
    "IdentityFile": RUN / "id_ed25519",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "ForwardAgent": "no",
    "UserKnownHostsFile": RUN / "known_hosts",
    "GlobalKnownHostsFile": "/dev/null",
    "StrictHostKeyChecking": "yes",
    "BatchMode": "yes",
    # An emulated guest takes its time to answer.
    "ConnectTimeout": 30,
    "ServerAliveInterval": 15,
}


def add(host: str, address: str, key: str) -> None:
    """A host more, at ``ADDRESS`` or ``ADDRESS:PORT``; known by its key before the first connection."""
    HOSTS.mkdir(exist_ok=True)
    write_file(HOSTS / host, f"{address} {key}\n")
    write()


def drop(host: str) -> None:
    """A host less."""
    (HOSTS / host).unlink(missing_ok=True)
    if HOSTS.exists():
        write()


def write() -> None:
    """Both files anew; hosts come up side by side, so under a lock."""
    HOSTS.mkdir(exist_ok=True)
    with (HOSTS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names = sorted((p.name for p in HOSTS.glob("host-*")), key=lambda name: int(name.partition("-")[2]))
        blocks, known = [], []
        for name in names:
            address, key = (HOSTS / name).read_text(encoding="utf-8").strip().split(" ", 1)
            address, _, port = address.partition(":")
            at = f"{address}\n  Port {port}" if port else address
            blocks.append(f"Host {name}\n  HostName {at}\n  HostKeyAlias {name}\n")
            known.append(f"{name} {key}\n")
        common = "".join(f"  {key} {value}\n" for key, value in COMMON.items())
        head = f"# Made with the lab; 'make ssh STACK={STACK} HOST=host-1' and ssh -F use it.\n"
        write_file(RUN / "known_hosts", "".join(known))
        write_file(RUN / "ssh_config", f"{head}{''.join(blocks)}Host *\n{common}")


def remove() -> None:
    """With the last host."""
    shutil.rmtree(HOSTS, ignore_errors=True)
    for name in ("ssh_config", "known_hosts"):
        (RUN / name).unlink(missing_ok=True)
