"""Disks of whole Debian machines: a release's own packages, a user with sudo, the checkout, and a cache brought along.

Set-up runs in the machine's own files before it boots, with the release's own Python and packages, at this machine's speed.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import places
from tools.progress import Progress
from tools.setup import debian
from tools.setup.cache import key_of, keyed

USER = "alex"
CHECKOUT = f"/home/{USER}/litelab"
RELEASES = {"bookworm": "Debian 12", "trixie": "Debian 13"}
NEIGHBOURS = {"bookworm": ("docker.io", "ufw"), "trixie": ("firewalld",)}
"""What people have beside a lab: each changes the machine's firewall."""

KERNEL = "linux-image-cloud-amd64"
# What an installed Debian has, and what README.md asks for: git, make, Python.
PACKAGES = (
    *("apparmor", "ca-certificates", "curl", "dbus", "git", "initramfs-tools", "less", "libpam-systemd", "make"),
    *("openssh-server", "python3", "sudo", "systemd-sysv", "udev", "zstd"),
)
MODULES = ("ext4", "virtio_blk", "virtio_net", "virtio_pci", "virtio_rng")
# Background work of a fresh Debian, which would take an emulated machine's processors for minutes.
UNWANTED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer")
DISK_GIB = 24
SWAP_MIB = 1024
PATIENCE = 10
"""How many times longer an emulated machine may take."""

IN_NAMESPACES = (
    *("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("--uts", "--"),
)


@dataclass(frozen=True)
class Disks:
    """What a machine boots from.

    Attributes:
        root: an ext4 file system, raw.
        swap: swap space, raw.
        kernel: booted directly.
        initrd: for the kernel.
        key: the user's private ssh key.
    """

    root: Path
    swap: Path
    kernel: Path
    initrd: Path
    key: Path


def sources(code: str, folder: Path) -> list[Path]:
    """This machine's package sources, written for another release."""
    own = debian.release()["VERSION_CODENAME"]
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for path in debian.apt_sources():
        target = folder / path.name
        target.write_text(path.read_text(encoding="utf-8").replace(own, code), encoding="utf-8")
        made.append(target)
    return made


def tree(code: str, progress: Progress) -> Path:
    """The root of an installed Debian, in the cache."""
    operator = tomllib.loads((places.TOOLS / "pins.toml").read_text(encoding="utf-8"))["debian"]["operator"]
    packages = sorted({*PACKAGES, *NEIGHBOURS[code], KERNEL, *operator})
    lists = progress.logs.parent / "machines" / f"sources-{code}"

    def make(folder: Path) -> None:
        folder.chmod(0o755)
        hooks = (
            'printf "MODULES=list\\nCOMPRESS=zstd\\n" >"$1/etc/initramfs-tools/conf.d/litelab"',
            f'printf "%s\\n" {" ".join(MODULES)} >"$1/etc/initramfs-tools/modules"',
            'chroot "$1" update-initramfs -u -k all',
            'chroot "$1" systemctl enable systemd-networkd.service',
            f'chroot "$1" systemctl mask {" ".join(UNWANTED)}',
        )
        command = [*IN_NAMESPACES, "mmdebstrap", "--variant=important", "--format=directory"]
        command += [f"--include={','.join(packages)}", *(f"--customize-hook={hook}" for hook in hooks)]
        command += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")]
        with progress.step(f"machine of {RELEASES[code]}", "download"):
            progress.run(f"machine-{code}", [*command, code, str(folder / "root"), *map(str, sources(code, lists))])

    key = key_of(code, " ".join(packages), Path(__file__))
    return keyed(places.cache() / "machines", code, key, make) / "root"


def disks(code: str, folder: Path, progress: Progress) -> Disks:
    """A machine's disks, below ``folder``; the checkout in it is a clone of this one's last commit."""
    base = tree(code, progress)
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (folder / "home").mkdir()
    subprocess.run(
        ["git", "clone", "-q", "--no-hardlinks", str(places.PROJECT), str(folder / "home/litelab")], check=True
    )
    _bring_cache(folder / "home/litelab/.cache")
    _write_all(folder / "files", _files(key.with_suffix(".pub").read_text(encoding="utf-8")))
    for part in ("upper", "work", "merged"):
        (folder / part).mkdir()
    raw = folder / "root.raw"
    with raw.open("wb") as file:
        file.truncate(DISK_GIB * 2**30)
    script = Path(__file__).parent / "fill.sh"
    with progress.step(f"set-up on {RELEASES[code]}, and its disk"):
        progress.run(f"machine-{code}-fill", [*IN_NAMESPACES, str(script), str(base), str(folder), USER])
    for pattern, name in (("vmlinuz-*", "vmlinuz"), ("initrd.img-*", "initrd.img")):
        shutil.copyfile(max((base / "boot").glob(pattern)), folder / name)
    swap = folder / "swap.raw"
    with swap.open("wb") as file:
        file.truncate(SWAP_MIB * 2**20)
    subprocess.run(["mkswap", "--quiet", str(swap)], check=True)
    for part in ("upper", "work", "home"):
        shutil.rmtree(folder / part)
    return Disks(raw, swap, folder / "vmlinuz", folder / "initrd.img", key)


def _bring_cache(target: Path) -> None:
    """What set-up has built here and is the same on any release: programs, and no packages of a release."""
    cache = places.cache()
    (target / "built").mkdir(parents=True)
    shutil.copy2(cache / "CACHEDIR.TAG", target)
    for path in (cache / "built").iterdir():
        if not path.name.lstrip(".").startswith(("node-", "go-")):
            copy: Sequence[str] = ["cp", "-a", str(path), str(target / "built")]
            subprocess.run(copy, check=True)


def _files(public_key: str) -> dict[str, str]:
    network = "[Match]\nName=en*\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseDNS=false\n"
    return {
        f"home/{USER}/.ssh/authorized_keys": public_key,
        "etc/fstab": "/dev/vda / ext4 defaults 0 1\n/dev/vdb none swap sw 0 0\n",
        "etc/hostname": "workstation\n",
        "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 workstation\n",
        "etc/litelab/patience": f"{PATIENCE}\n",
        "etc/resolv.conf": "nameserver 10.0.2.3\n",
        f"etc/sudoers.d/{USER}": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
        "etc/systemd/network/20-wired.network": network,
    }


def _write_all(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o440 if "sudoers" in name else 0o644)
