"""The image that libvirt guests of the machine's own Debian release boot: a disk, a kernel and an initial ramdisk, from packages.

The disk is one ext4 file system without a partition table, so the kernel is booted directly: no boot loader has to be written
into it, and none needs a loop device.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tools.errors import SetupError
from tools.progress import Progress
from tools.setup import debian
from tools.setup.cache import key_of, keyed, link, remove, sha256_of

KERNEL = "linux-image-cloud-amd64"
# What virtio machines need to find their root; a general ramdisk would be six times as large.
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "ext4", "isofs", "sr_mod", "ata_piix")

UNWANTED = (
    *("cloud-config.service", "cloud-final.service", "cloud-init-hotplugd.socket"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("e2scrub_reap.service", "getty@tty1.service", "systemd-networkd-wait-online.service"),
)


def build(cache: Path, pin: dict[str, Any], root: list[str], progress: Progress) -> Path:
    """``<cache>/guests/debian``: ``disk.qcow2``, ``vmlinuz``, ``initrd.img`` and ``image.json``, which has their digests.

    Args:
        cache: the cache folder.
        pin: ``packages`` that a guest has more than an nspawn host, and ``headroom_mib``, the disk's free space.
        root: the packages of nspawn hosts, which guests have too.
        progress: told of each step.

    Raises:
        SetupError: not root, a program is missing, or the mirror did not give it.
    """
    code = debian.release()["VERSION_CODENAME"]
    packages = sorted({*root, *pin["packages"], KERNEL})
    name = f"{debian.release()['ID']}-{code}"
    key = key_of(name, " ".join(packages), str(pin["headroom_mib"]), Path(__file__))
    if not (cache / "guests" / f"{name}-{key}").is_dir():
        if os.geteuid() != 0:
            msg = "The guests' image is made by root, for its files are root's. Run 'sudo make image'."
            raise SetupError(msg)
        lacking = [p for p in ("mmdebstrap", "mke2fs", "qemu-img", "unshare") if shutil.which(p) is None]
        if lacking:
            msg = f"The guests' image can't be made without {', '.join(lacking)}: 'apt-get install mmdebstrap e2fsprogs qemu-utils util-linux'."
            raise SetupError(msg)

    def make(folder: Path) -> None:
        tree = folder / "root"
        with progress.step(f"guest image of {name}: packages", "download"):
            folder.chmod(0o755)
            command = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"]
            command += ["mmdebstrap", "--variant=minbase", "--format=directory", f"--include={','.join(packages)}"]
            command += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")]
            command += [
                f"--customize-hook={hook}"
                for hook in (
                    'printf "MODULES=list\\nCOMPRESS=zstd\\n" >"$1/etc/initramfs-tools/conf.d/litelab"',
                    f'printf "%s\\n" {" ".join(MODULES)} >"$1/etc/initramfs-tools/modules"',
                    'chroot "$1" update-initramfs -u -k all',
                    # What cloud-init's network settings are written for here; Debian leaves it off.
                    'chroot "$1" systemctl enable systemd-networkd.service',
                    # The lab's settings are done in cloud-init's first two stages; each more costs an emulated guest seconds.
                    f'chroot "$1" systemctl mask {" ".join(UNWANTED)}',
                    'printf "datasource_list: [NoCloud, None]\\n" >"$1/etc/cloud/cloud.cfg.d/90_litelab.cfg"',
                )
            ]
            command += [code, str(tree), *map(str, debian.apt_sources())]
            progress.run("guest-packages", command)
        with progress.step(f"guest image of {name}: disk"):
            _disk(folder, tree, int(pin["headroom_mib"]), progress)
        remove([tree])
        files = {part: folder / file for part, file in _FILES.items()}
        manifest = {
            "name": name,
            **{part: {"file": path.name, "sha256": sha256_of(path)} for part, path in files.items()},
            "cmdline": {"console": "ttyS0", "root": "/dev/vda"},
        }
        (folder / "image.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")

    image = keyed(cache / "guests", name, key, make)
    link(cache / "guests" / "debian", image)
    return image


_FILES = {"disk": "disk.qcow2", "kernel": "vmlinuz", "initrd": "initrd.img"}


def _disk(folder: Path, tree: Path, headroom_mib: int, progress: Progress) -> None:
    """The root as a disk; what is the machine's or belongs to one boot alone is taken out before."""
    own = [tree / path for path in ("etc/resolv.conf", "etc/hostname", "etc/apt/sources.list")]
    for path in [*own, *(tree / "etc/ssh").glob("ssh_host_*")]:
        path.unlink(missing_ok=True)
    for lists in (tree / "etc/apt/sources.list.d", tree / "var/lib/apt/lists", tree / "var/cache/apt/archives"):
        shutil.rmtree(lists, ignore_errors=True)
        lists.mkdir()
    (tree / "etc/machine-id").write_text("", encoding="utf-8")
    (tree / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n", encoding="utf-8")
    # Kernel and ramdisk are booted from files beside the disk.
    for pattern, name in (("vmlinuz-*", "vmlinuz"), ("initrd.img-*", "initrd.img")):
        newest = max((tree / "boot").glob(pattern))
        shutil.copyfile(newest, folder / name)
    used = sum(p.lstat().st_blocks * 512 for p in tree.rglob("*") if not p.is_symlink())
    raw = folder / "disk.raw"
    with raw.open("wb") as file:
        file.truncate((used // 2**20 + headroom_mib) * 2**20)
    # 64-bit and the inodes of a disk that cloud-init grows later.
    command = ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-i", "16384", "-E", "lazy_itable_init=1", "-d", str(tree)]
    progress.run("guest-mke2fs", [*command, str(raw)])
    progress.run("guest-qcow2", ["qemu-img", "convert", "-O", "qcow2", str(raw), str(folder / "disk.qcow2")])
    raw.unlink()
