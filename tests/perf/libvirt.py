"""Three guests to a working ssh: Litelab's, against the same three by hand with virsh; then a preview and a destroy.

``python3 -m tests.libvirt.daemon FOLDER python3 -m tests.perf.libvirt [ROUNDS]``, or without the first part on this machine's own
libvirt. Exit code 3 when a target is missed. Same image, same first settings, same machines; emulated where KVM starts none.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from components.checks import kvm
from components.hosts.libvirt.seed import mac, seed
from components.hosts.libvirt.settings import LibvirtSettings
from tests.perf.rounds import FOLDER, Figures, interleave, pulumi, run, stack_of_its_own, timed
from tools import places

STACK = "perf-libvirt"
URI = os.environ.get("LITELAB_TEST_URI", "qemu:///system")
GUESTS = 3
LIMIT = 1.25
PREVIEW_S = 5.0
DESTROY_S = 10.0
SSH_S = 900
LAB = "litelab-by-hand-000000"
PREFIX = "10.86.200"


def settings() -> LibvirtSettings:
    """The guests of both."""
    given: dict[str, Any] = {"accelerator": "kvm" if kvm.starts_a_guest()[0] else "tcg", "uri": URI, "cpus": 1}
    return LibvirtSettings.model_validate({**given, "memoryMib": 1024, "diskGib": 4, "storage": _storage()})


def _storage() -> str | None:
    """Where a daemon of the tests' own keeps images; this machine's libvirt has its own folder."""
    socket = URI.partition("socket=")[2]
    return str(Path(socket).parent.parent / "images") if socket else None


@contextlib.contextmanager
def guests_program() -> Iterator[Path]:
    """A copy of the guests' program, where a lab's relative paths lead to this checkout's run folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = Path(tempfile.mkdtemp(prefix="program-", dir=FOLDER))
    try:
        shutil.copytree(places.PROJECT / "tests/libvirt/program", program, dirs_exist_ok=True)
        (program / ".lab").symlink_to(places.OWN)
        yield program
    finally:
        shutil.rmtree(program)


def virsh(*words: str, check: bool = True) -> None:
    """One call, as a person would make it."""
    command = ["virsh", "--connect", URI, "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if check and done.returncode != 0:
        msg = f"{' '.join(command)}: {done.stderr.strip()}"
        raise RuntimeError(msg)


def by_hand(args: LibvirtSettings, folder: Path) -> float:
    """Seconds until three guests answer ssh, made with virsh alone."""
    image = places.cache() / "guests" / "debian"
    pool = f"{args.storage or '/var/lib/libvirt/images'}/{LAB}"
    began = time.monotonic()
    client = key(folder / "client")
    virsh("pool-define-as", LAB, "dir", "--target", pool)
    virsh("pool-build", LAB)
    virsh("pool-start", LAB)
    for volume, file in (("base", "disk.qcow2"), ("vmlinuz", "vmlinuz"), ("initrd.img", "initrd.img")):
        upload(volume, image / file, "qcow2" if volume == "base" else "raw")
    network = f"<network><name>{LAB}</name><ip address='{PREFIX}.1' prefix='24'/></network>"
    virsh("net-define", written(folder / "network.xml", network))
    virsh("net-start", LAB)
    for number in range(1, GUESTS + 1):
        guest(number, args, folder, client, pool)
    with ThreadPoolExecutor() as all_at_once:
        list(all_at_once.map(lambda n: wait_for_ssh(folder, n), range(1, GUESTS + 1)))
    return time.monotonic() - began


def guest(number: int, args: LibvirtSettings, folder: Path, client: dict[str, str], pool: str) -> None:
    """One machine, with the first settings that Litelab gives."""
    name = f"host-{number}"
    pair = key(folder / name)
    with (folder / "known_hosts").open("a", encoding="utf-8") as known:
        known.write(f"{name} {pair['public']}\n")
    told = seed({"id": LAB, "prefix": PREFIX}, client, pair, number, name, args)
    files = {"user-data": told["user"], "meta-data": told["meta"], "network-config": told["network"]}
    paths = [written(folder / f"{name}.d" / file, text) for file, text in files.items()]
    iso = folder / f"{name}.iso"
    subprocess.run(
        ["mkisofs", "-quiet", "-output", str(iso), "-volid", "cidata", "-joliet", "-rock", *paths], check=True
    )
    upload(iso.name, iso, "raw")
    backing = ["--backing-vol", "base", "--backing-vol-format", "qcow2", "--format", "qcow2"]
    virsh("vol-create-as", LAB, name, f"{args.disk_gib}GiB", *backing)
    kind, cpu = ("kvm", "host-passthrough") if args.accelerator == "kvm" else ("qemu", "maximum")
    xml = f"""<domain type='{kind}'><name>{LAB}-{name}</name><memory unit='MiB'>{args.memory_mib}</memory><vcpu>{args.cpus}</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>{pool}/vmlinuz</kernel><initrd>{pool}/initrd.img</initrd>
<cmdline>console=ttyS0 root=/dev/vda rw</cmdline></os><features><acpi/><apic/><pae/></features><cpu mode='{cpu}'/>
<devices><disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='{LAB}' volume='{name}'/>
<target dev='vda' bus='virtio'/></disk><disk type='volume' device='cdrom'><driver name='qemu' type='raw'/>
<source pool='{LAB}' volume='{iso.name}'/><target dev='hdd' bus='ide'/></disk>
<interface type='network'><mac address='{mac(LAB, name)}'/><source network='{LAB}'/><model type='virtio'/></interface>
<console type='pty'><target type='serial' port='0'/></console><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
</devices></domain>"""
    virsh("define", written(folder / f"{name}.xml", xml))
    virsh("start", f"{LAB}-{name}")


def upload(volume: str, file: Path, form: str) -> None:
    """A file as a volume."""
    virsh("vol-create-as", LAB, volume, str(file.stat().st_size), "--format", form)
    virsh("vol-upload", volume, str(file), "--pool", LAB)


def key(path: Path) -> dict[str, str]:
    """A new key pair."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)
    public = " ".join(path.with_suffix(".pub").read_text(encoding="utf-8").split()[:2])
    return {"private": path.read_text(encoding="utf-8"), "public": public}


def written(path: Path, text: str) -> str:
    """The path of a file with this text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def wait_for_ssh(folder: Path, number: int) -> None:
    """Until a login with the verified key works."""
    options = {
        "UserKnownHostsFile": folder / "known_hosts", "HostKeyAlias": f"host-{number}", "StrictHostKeyChecking": "yes",
        "BatchMode": "yes", "ConnectTimeout": 30, "IdentityAgent": "none",
    }  # fmt: skip
    words = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
    command = ["ssh", *words, "-i", str(folder / "client"), f"root@{PREFIX}.{10 + number}", "true"]
    deadline = time.monotonic() + SSH_S
    while subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode != 0:
        if time.monotonic() > deadline:
            msg = f"no ssh on host-{number} within {SSH_S} s"
            raise TimeoutError(msg)
        time.sleep(0.2)


def away() -> None:
    """Take the guests by hand away, whatever there is of them."""
    for number in range(1, GUESTS + 1):
        virsh("destroy", f"{LAB}-host-{number}", check=False)
        virsh("undefine", f"{LAB}-host-{number}", check=False)
        for volume in (f"host-{number}", f"host-{number}.iso"):
            virsh("vol-delete", volume, "--pool", LAB, check=False)
    for volume in ("base", "vmlinuz", "initrd.img"):
        virsh("vol-delete", volume, "--pool", LAB, check=False)
    for words in (("net-destroy", LAB), ("net-undefine", LAB), ("pool-destroy", LAB), ("pool-delete", LAB)):
        virsh(*words, check=False)
    virsh("pool-undefine", LAB, check=False)


def main(rounds: int) -> int:
    """Measure and hold against the targets."""
    figures = Figures("libvirt guests to ssh")
    args = settings()
    given = args.model_dump(by_alias=True, exclude_none=True)
    hosts = json.dumps({k: given[k] for k in given if k not in {"image", "size"}})
    away()
    with guests_program() as program, stack_of_its_own(STACK, program):
        for key_of, value in (("hosts", hosts), ("workers", str(GUESTS - 1))):
            timed(["pulumi", "config", "set", "--stack", STACK, f"litelab:{key_of}", value], cwd=program)

        def litelab() -> None:
            figures.add("litelab", pulumi("up", STACK, cwd=program))
            preview = ["pulumi", "preview", "--non-interactive", "--expect-no-changes", "--stack", STACK]
            figures.add("preview", timed(preview, cwd=program))
            figures.add("destroy", pulumi("destroy", STACK, cwd=program))

        def hand() -> None:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    figures.add("virsh", by_hand(args, Path(folder)))
                finally:
                    away()

        interleave(figures, rounds, [litelab, hand])
    pairs = sorted(a / b for a, b in zip(figures.seconds["litelab"], figures.seconds["virsh"], strict=True))
    figures.hold("litelab / virsh, median of pairs", statistics.median(pairs), LIMIT)
    print(f"  the pairs' ratios: {', '.join(f'{ratio:.2f}' for ratio in pairs)}")
    figures.hold("preview", figures.median("preview"), PREVIEW_S, "s")
    figures.hold("destroy", figures.median("destroy"), DESTROY_S, "s")
    return figures.finish()


if __name__ == "__main__":
    run(main)
