"""``orphans.py [--remove LAB... | --of RUN]``: pools, networks and guests named ``litelab-...`` in libvirt that no Pulumi state knows.

A lab says where it is run from in the machine's registry, which goes with a reboot, and in its run folder. One that neither names
may be another checkout's: it is listed and left alone. ``--of`` takes one lab away, by its run folder, whatever a state knows.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import place
import virsh

sys.path.append(str(Path(__file__).resolve().parents[3] / "ssh" / "scripts"))
import labstate

CHECKOUT = Path(__file__).resolve().parents[4]


def labs() -> list[str]:
    """Every lab's name that libvirt shows any trace of."""
    seen = [*virsh.domains(), *virsh.lines("net-list", "--all", "--name"), *virsh.lines("pool-list", "--all", "--name")]
    found = (re.fullmatch(r"(litelab-[a-z0-9-]+-[0-9a-f]{6})(-host-\d+)?", name) for name in seen)
    return sorted({match[1] for match in found if match})


def run_folder(lab: str) -> Path | None:
    """Where a lab is run from, by the registry, or by this checkout's own run folders."""
    record = place.registry() / f"{lab}.run"
    if record.exists():
        return Path(record.read_text(encoding="utf-8").strip())
    for env in (CHECKOUT / ".lab" / "run").glob("*/lab.env"):
        if f"LAB_ID={lab}\n" in env.read_text(encoding="utf-8"):
            return env.parent
    return None


def remove(lab: str) -> str:
    """Take a lab away; what libvirt said of what is still there."""
    left = virsh.remove_lab(lab)
    if not left:
        place.forget(lab)
    return left


def remove_of(run: Path) -> int:
    """Take away the lab that a run folder names; 1 when something is left."""
    env = (run / "lab.env").read_text(encoding="utf-8")
    named = re.search(r"(?m)^LAB_ID=(litelab-[a-z0-9-]+-[0-9a-f]{6})$", env)
    said = remove(named[1]) if named else ""
    if said:
        print(f"lab {run.name}: {said}")
        return 1
    (run / "lab.env").unlink()
    return 0


def main(arguments: list[str]) -> int:
    """List them, or take them away; 1 when something is left."""
    if arguments[:1] == ["--of"]:
        return remove_of(Path(arguments[1]))
    reached = subprocess.run(
        ["virsh", "--connect", virsh.CONNECT, "version"],
        capture_output=True,
        check=False,
        timeout=virsh.VIRSH_S,
        env={**os.environ, "LC_ALL": "C"},
    )
    if reached.returncode != 0:
        # Without libvirt nothing of a lab runs.
        return 0
    left = 0
    for lab in labs():
        run = run_folder(lab)
        if run is not None and labstate.is_known(run, "litelab:hosts:LibvirtHosts"):
            continue
        if run is None:
            print(
                f"lab {lab}: made from another checkout, or before a reboot; it is left alone. If it is nobody's, take it away with "
                f"'virsh destroy' and 'undefine' of its guests, 'virsh net-destroy {lab}', 'net-undefine', 'pool-destroy' and 'pool-undefine'."
            )
            left = 1
        elif arguments[:1] == ["--remove"] and lab in arguments[1:]:
            said = remove(lab)
            print(f"lab {lab}: {said or 'removed'}")
            left |= bool(said)
        else:
            print(f"lab {lab} of {run}: no state knows it. 'make orphans REMOVE={lab}' removes it.")
            left = 1
    return left


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
