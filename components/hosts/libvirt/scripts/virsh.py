"""What the libvirt scripts share: virsh with a time limit, the run folder, and errors of one paragraph."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

RUN = Path(__file__).resolve().parent.parent
STACK = RUN.name
PROJECT = RUN.parent.parent.parent
CACHE = Path(os.environ.get("LITELAB_CACHE") or PROJECT / ".cache")
URI = os.environ.get("LIBVIRT_DEFAULT_URI", "qemu:///system")
THROUGH = os.environ.get("THROUGH", "")
"""The machine through which libvirt and hosts are reached, as ``forward.py`` has it; nothing for libvirt on this one."""
CONNECT = f"{URI}{'&' if '?' in URI else '?'}no_tty=1" if "+ssh://" in URI else URI
"""For virsh: nobody is there to answer ssh's questions."""
VIRSH_S = 60.0
"""How long one call of virsh may take."""
_BEGAN = time.monotonic()


def die(text: str) -> NoReturn:
    """End with one paragraph."""
    print(f"error: {text}", file=sys.stderr)
    sys.exit(1)


def call(*words: str) -> tuple[int, str, str]:
    """Exit code, output and error text of virsh; ends the script when libvirt does not answer."""
    try:
        done = subprocess.run(
            ["virsh", "--connect", CONNECT, "--quiet", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=VIRSH_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        die(
            "there is no virsh on this machine. 'apt-get install libvirt-clients' brings it; then run the same command again."
        )
    except subprocess.TimeoutExpired:
        die(
            f"libvirt at {URI} did not answer 'virsh {' '.join(words)}' within {VIRSH_S:.0f} s. See to libvirtd there, then run the same command again."
        )
    said = " ".join(done.stderr.removeprefix("error: ").split())
    if done.returncode != 0 and (
        "failed to connect" in said or "Failed to connect" in said or "Cannot recv data" in said
    ):
        die(f"libvirt at {URI} is not reached: {fix(said)}")
    return done.returncode, done.stdout, said


def fix(said: str) -> str:
    """What libvirt said, and what helps."""
    if not THROUGH:
        return f"{said[-300:]}. Start it ('systemctl start libvirtd'), then run the same command again."
    import forward  # only such labs have it

    try:
        forward.try_login(THROUGH)
    except forward.ForwardError as error:
        return str(error)
    return (
        f"{said[-300:]}. '{forward.by_hand(THROUGH)} virsh --connect qemu:///system version' must answer: start libvirtd there, and see that the "
        "user is in its group libvirt. Then run the same command again."
    )


def lines(*words: str) -> list[str]:
    """The lines that a listing prints, none when it fails because what it lists is not there."""
    code, out, _ = call(*words)
    return [line.strip() for line in out.splitlines() if line.strip()] if code == 0 else []


def domains() -> list[str]:
    """Names of all guests, running or not."""
    return lines("list", "--all", "--name")


def volumes(pool: str) -> list[str]:
    """Names of all volumes of a pool; none when there is no such pool, or it does not run."""
    call("pool-refresh", pool)
    return [line.split()[0] for line in lines("vol-list", pool)]


def remove_domain(name: str) -> str:
    """End and undefine a guest; what libvirt said if it is still there, else nothing."""
    if name not in domains():
        return ""
    call("destroy", name)
    _, _, said = call("undefine", name, "--nvram", "--managed-save", "--snapshots-metadata")
    return said if name in domains() else ""


def remove_volume(pool: str, name: str) -> str:
    """Delete a volume; what libvirt said if it is still there, else nothing."""
    if name not in volumes(pool):
        return ""
    _, _, said = call("vol-delete", name, "--pool", pool)
    return said if name in volumes(pool) else ""


def remove_network(name: str) -> str:
    """End and undefine a network; what libvirt said if it is still there, else nothing."""
    if name not in lines("net-list", "--all", "--name"):
        return ""
    call("net-destroy", name)
    _, _, said = call("net-undefine", name)
    return said if name in lines("net-list", "--all", "--name") else ""


def remove_pool(name: str) -> str:
    """Delete a pool with all volumes in it; what libvirt said if it is still there, else nothing."""
    if name not in lines("pool-list", "--all", "--name"):
        return ""
    call("pool-start", name)
    remove_volumes(name)
    call("pool-destroy", name)
    call("pool-delete", name)
    _, _, said = call("pool-undefine", name)
    return said if name in lines("pool-list", "--all", "--name") else ""


def remove_guests(lab: str) -> str:
    """End and undefine every guest that has a lab's name; what libvirt said of those that are still there, else nothing."""
    said = [remove_domain(name) for name in domains() if name.startswith(f"{lab}-host-")]
    return "; ".join(filter(None, said))


def remove_volumes(lab: str) -> str:
    """Empty a lab's pool; what libvirt said of what is still there, else nothing."""
    return "; ".join(filter(None, [remove_volume(lab, name) for name in volumes(lab)]))


def remove_lab(lab: str) -> str:
    """Everything that has a lab's name; what libvirt said of what is still there, else nothing."""
    return "; ".join(filter(None, [remove_guests(lab), remove_network(lab), remove_pool(lab)]))


def step_done(step: str, host: str) -> None:
    """Append how long the script has taken; benchmarks read the file."""
    with (RUN / "steps.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "host": host, "seconds": round(time.monotonic() - _BEGAN, 3)}) + "\n")


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """A file, whole or not at all, for its owner alone unless told otherwise."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
