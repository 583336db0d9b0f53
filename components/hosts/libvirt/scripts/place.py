#!/usr/bin/env python3
"""``place.py create|delete|restore``: what the lab is called in libvirt, and which addresses it has.

Prints ``{"id", "prefix", "pool"}``: the name of its pool and network and the beginning of its guests' names, the first three
numbers of its /24, the pool's folder. Leaves ``lab.env`` in the run folder. ``delete`` removes what still has the lab's name. ``restore``
leaves ``lab.env`` again, from the state (``{"stdout": what was printed, ...}``).
Environment: PATIENCE, how many
times longer than on hardware a step may take; SUBNET (empty: choose), STORAGE (empty: libvirt's own folder).
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import virsh
from virsh import RUN, STACK, die

RANGES = ("10.87", "10.139", "172.29", "192.168")
"""Where a subnet is looked for; the same as for nspawn labs."""
LIVING_LABS = Path("/run/litelab/labs")
"""nspawn labs on this machine, which choose from the same ranges."""


def registry() -> Path:
    """Where labs of this user write down what they have chosen until libvirt knows it."""
    base = (
        Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/litelab-{os.geteuid()}")
    )
    folder = base / "litelab-libvirt"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@contextlib.contextmanager
def locked() -> Iterator[Path]:
    """The registry, held: two labs never choose at once."""
    folder = registry()
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder


def routes() -> str:
    """Of the machine that guests will be on, as far as it says."""
    show = ["ip", "-4", "route", "show", "table", "all"]
    if virsh.THROUGH:
        import forward

        show = [*forward.login(virsh.THROUGH), "--", forward.machine(virsh.THROUGH), *show]
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(
            show, capture_output=True, text=True, check=False, timeout=virsh.VIRSH_S, stdin=subprocess.DEVNULL
        ).stdout
    return ""


def taken(folder: Path) -> list[ipaddress.IPv4Network]:
    """Every network that a route of guests' machine, a network of libvirt or another lab has."""
    words = re.findall(r"(?m)^(?:\w+ )?(\d+\.\d+\.\d+\.\d+(?:/\d+)?) ", routes())
    found = [ipaddress.IPv4Network(word, strict=False) for word in words]
    for name in virsh.lines("net-list", "--all", "--name"):
        _, xml, _ = virsh.call("net-dumpxml", name)
        for tag in re.findall(r"<ip [^>]*>", xml):
            address = re.search(r"\baddress='([\d.]+)'", tag)
            mask = re.search(r"\b(?:netmask|prefix)='([\d.]+)'", tag)
            if address and mask:
                found.append(ipaddress.IPv4Network(f"{address[1]}/{mask[1]}", strict=False))
    for path in [*folder.glob("*.prefix"), *LIVING_LABS.glob("*/prefix")]:
        with contextlib.suppress(OSError, ValueError):
            found.append(ipaddress.IPv4Network(f"{path.read_text(encoding='utf-8').strip()}.0/24"))
    return found


def choose(folder: Path) -> str:
    """A prefix that is free, or the one that settings name if it is.

    Ends the script with the reason when it is not, or none is.
    """
    used = taken(folder)

    def free(prefix: str) -> bool:
        return not any(ipaddress.IPv4Network(f"{prefix}.0/24").overlaps(network) for network in used)

    wanted = os.environ.get("SUBNET", "")
    if wanted:
        prefix = wanted.removesuffix("/24").rpartition(".")[0]
        if not free(prefix):
            whose = "libvirt's" if virsh.THROUGH else "this"
            die(
                f"hosts.subnet: {wanted} is in use, by a route of {whose} machine ('ip route show table all'), by a network of libvirt "
                "('virsh net-list --all') or by another lab. Leave hosts.subnet out, and the lab chooses a free one."
            )
        return prefix
    start = secrets.randbelow(256)
    candidates = (f"{base}.{(start + third) % 256}" for base in RANGES for third in range(256))
    prefix = next(filter(free, candidates), "")
    if not prefix:
        die(
            f"no free /24 in {', '.join(f'{r}.0.0/16' for r in RANGES)}. Name one that is free as hosts.subnet in the lab's file."
        )
    return prefix


def storage() -> str:
    """The folder below which libvirt on its machine may keep volumes."""
    given = os.environ.get("STORAGE", "")
    if given:
        return given
    if virsh.URI.partition("?")[0].endswith("/session"):
        if virsh.THROUGH:
            die(
                "hosts.storage must name a folder of yours on the machine of hosts.uri: /session has none that is the same everywhere."
            )
        return str(Path.home() / ".local/share/libvirt/images")
    # Its security drivers know this folder.
    return "/var/lib/libvirt/images"


def known() -> dict[str, str]:
    """What an earlier create wrote down."""
    path = RUN / "lab.env"
    if not path.exists():
        return {}
    return dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if "=" in line)


def create() -> None:
    """Choose, or choose again what a killed create has chosen."""
    code, _, said = virsh.call("version")
    if code != 0:
        die(f"libvirt at {virsh.URI} does not answer: {said}. hosts.uri names another.")
    had = known()
    identity = had.get("LAB_ID") or f"litelab-{STACK}-{secrets.token_hex(3)}"
    with locked() as folder:
        record = folder / f"{identity}.prefix"
        record.unlink(missing_ok=True)
        prefix = had.get("PREFIX", "") if had.get("SUBNET") == os.environ.get("SUBNET", "") else ""
        prefix = prefix or choose(folder)
        record.write_text(f"{prefix}\n", encoding="utf-8")
    (folder / f"{identity}.run").write_text(f"{RUN}\n", encoding="utf-8")
    put(identity, prefix)
    virsh.step_done("place", "lab")
    json.dump({"id": identity, "prefix": prefix, "pool": f"{storage()}/{identity}"}, sys.stdout)


def put(identity: str, prefix: str) -> None:
    """Leave in the run folder what the lab is called, and how patient one has to be."""
    values = {"LAB_ID": identity, "PREFIX": prefix, "SUBNET": os.environ.get("SUBNET", ""), "URI": virsh.URI}
    if virsh.THROUGH:
        values["THROUGH"] = virsh.THROUGH
    virsh.write(RUN / "lab.env", "".join(f"{key}={value}\n" for key, value in values.items()))
    virsh.write(RUN / "patience", f"{os.environ['PATIENCE']}\n")


def restore(printed: str) -> None:
    """The same again, from the state."""
    where = json.loads(printed)
    put(where["id"], where["prefix"])


def forget(identity: str) -> None:
    """Take a lab out of the registry: its subnet is free again."""
    with locked() as folder:
        for suffix in ("prefix", "run"):
            (folder / f"{identity}.{suffix}").unlink(missing_ok=True)


def delete() -> None:
    """What no state knows any more but still has the lab's name goes too."""
    identity = known().get("LAB_ID")
    if identity:
        if left := virsh.remove_lab(identity):
            die(
                f"libvirt at {virsh.URI} still has something of {identity}: {left}. 'virsh list --all', 'net-list' and 'pool-list' show it; run destroy again when it can go."
            )
        forget(identity)
    if virsh.THROUGH:
        import forward

        forward.close_all(RUN)
    shutil.rmtree(RUN / "ssh", ignore_errors=True)
    for name in ("ssh_config", "known_hosts", "lab.env", "patience", "steps.jsonl"):
        (RUN / name).unlink(missing_ok=True)
    for console in RUN.glob("console-host-*.log"):
        console.unlink()


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["create"]:
            create()
        case ["delete"]:
            delete()
        case ["restore"]:
            restore(json.load(sys.stdin)["stdout"])
        case _:
            die("usage: place.py create|delete|restore")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
