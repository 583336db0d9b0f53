"""From the machine's own Debian or Ubuntu mirrors: the hosts' root image, and a few programs that go to hosts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tools.errors import SetupError
from tools.progress import Progress
from tools.setup import site
from tools.setup.cache import key_of, keyed, link

SOURCES = Path("/etc/apt")


def release() -> dict[str, str]:
    """``/etc/os-release`` of this machine."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    return {k: v.strip('"') for k, _, v in (line.partition("=") for line in lines if "=" in line)}


def apt_sources() -> list[Path]:
    """The machine's own package sources, whose mirrors its hosts use too."""
    lists = SOURCES / "sources.list.d"
    found = [SOURCES / "sources.list", *sorted(lists.glob("*.sources")), *sorted(lists.glob("*.list"))]
    wanted = [p for p in found if p.is_file() and _is_of_the_distribution(p)]
    # Other people's repositories can look alike ('deb https://their.example bookworm main'): apt knows whose each is.
    owners = _origins()
    wanted = [p for p in wanted if not owners.get(p) or release().get("ID", "") in owners[p]]
    if not wanted:
        msg = f"{SOURCES} names no source of {release().get('PRETTY_NAME', 'this system')}, so no root image can be made. Add the distribution's mirror to it."
        raise SetupError(msg)
    return wanted


def _is_of_the_distribution(path: Path) -> bool:
    """Whether a source has the release's main component: other people's repositories do not go into hosts."""
    code = release().get("VERSION_CODENAME", "")
    text = "\n".join(
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    )
    return bool(code) and code in text and " main" in text.replace(":", " ")


def _origins() -> dict[Path, set[str]]:
    """Whose repositories each source file names, in small letters; empty before the first ``apt-get update``."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN)\t$(SOURCESENTRY)", "Created-By: Packages"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[Path, set[str]] = {}
    for origin, _, entry in (line.partition("\t") for line in shown.splitlines()):
        if origin and not origin.startswith("$"):
            found.setdefault(Path(entry.rpartition(":")[0]), set()).add(origin.lower())
    return found


def root_image(cache: Path, pin: dict[str, Any], progress: Progress) -> Path:
    """The read-only root that every nspawn host is a layer over, at ``<cache>/rootfs/current``.

    Raises:
        SetupError: not root, or the mirror did not give it.
    """
    code = release()["VERSION_CODENAME"]
    packages = list(pin["packages"])
    name = f"{release()['ID']}-{code}"
    key = key_of(name, " ".join(packages), Path(__file__))
    if not (cache / "rootfs" / f"{name}-{key}").is_dir() and os.geteuid() != 0:
        msg = "The hosts' root image is made by root, for its files are root's. Run 'sudo make setup'."
        raise SetupError(msg)

    def make(folder: Path) -> None:
        with progress.step(f"root image of {name}", "download"):
            # apt's own user reads in it.
            folder.chmod(0o755)
            progress.run(
                "rootfs",
                [
                    # In namespaces of its own, which end with it: as root it mounts the machine's /dev/shm, /sys and /proc
                    # below the image, and if it is killed there, whoever deletes the rest deletes through them.
                    "unshare",
                    "--mount",
                    "--propagation=private",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--mount-proc",
                    "mmdebstrap",
                    "--variant=minbase",
                    "--format=directory",
                    f"--include={','.join(packages)}",
                    # It writes an apt configuration of its own, and reads no other.
                    *(
                        [f'--aptopt=Acquire::https::CAInfo "{bundle}"']
                        if (bundle := os.environ.get(site.BUNDLE))
                        else []
                    ),
                    "--dpkgopt=path-exclude=/usr/share/doc/*",
                    "--dpkgopt=path-exclude=/usr/share/man/*",
                    "--dpkgopt=path-exclude=/usr/share/locale/*",
                    code,
                    str(folder),
                    *map(str, apt_sources()),
                ],
                hint=_hint,
            )
            # What is the machine's, not the image's: its resolver, identity, keys, and where its packages came from.
            for path in ("etc/resolv.conf", "etc/machine-id", "etc/hostname", "etc/apt/sources.list", *_keys(folder)):
                (folder / path).unlink(missing_ok=True)
            for lists in (folder / "etc/apt/sources.list.d", folder / "var/lib/apt/lists"):
                shutil.rmtree(lists, ignore_errors=True)
                lists.mkdir()
            (folder / "etc/machine-id").touch()

    image = keyed(cache / "rootfs", name, key, make)
    link(cache / "rootfs" / "current", image)
    return image


def _keys(root: Path) -> list[str]:
    return [str(p.relative_to(root)) for p in (root / "etc/ssh").glob("ssh_host_*")]


def _hint(log: str) -> str:
    if "Unable to locate package" in log:
        return "The mirror has no such package: on Ubuntu, 'add-apt-repository universe' and 'apt-get update' bring the rest."
    if "Temporary failure resolving" in log or "Could not connect" in log or "Failed to fetch" in log:
        return "The package mirror was not reached: 'apt-get update' says why. Run the same command again when it is."
    return (
        "'make doctor' says whether the kernel can mount what it needs. Run the same command again when that is fixed."
    )


def node_files(cache: Path, pin: dict[str, list[str]], progress: Progress) -> Path:
    """Programs of the distribution's own packages, unpacked, not installed: ``<cache>/built/node-<key>``."""
    wanted = sorted(pin)

    def make(folder: Path) -> None:
        downloads = folder / "debs"
        downloads.mkdir()
        with progress.step("container runtime", "download"):
            if any(candidate(name).endswith(" none") for name in wanted):
                # A machine that never asked its mirror, or an image whose lists were thrown away.
                progress.run("apt-update", ["apt-get", "update", "-qq"])
            # apt verifies each package against the mirror's signed list.
            progress.run(
                "node-packages",
                ["apt-get", "-o", "APT::Sandbox::User=root", "download", *wanted],
                cwd=downloads,
                hint=_hint,
            )
            for package in sorted(downloads.glob("*.deb")):
                progress.run("node-unpack", ["dpkg-deb", "-x", str(package), str(folder / "tree")])
        for name in wanted:
            if not any((folder / "tree" / path).is_file() for path in pin[name]):
                msg = f"The package {name} has none of {', '.join(pin[name])}: {release().get('PRETTY_NAME')} packs it in another way than Debian 12."
                raise SetupError(msg)
        # Which packages these were: results and reports tell.
        names = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(downloads.glob("*.deb"))}
        (folder / "packages.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(downloads)

    return keyed(cache / "built", "node", key_of(str(pin), release()["ID"], release()["VERSION_CODENAME"]), make)


def candidate(name: str) -> str:
    """Name and version of the package that apt would install; asks no mirror."""
    shown = subprocess.run(["apt-cache", "policy", name], capture_output=True, text=True, check=False).stdout
    version = next(
        (line.split(":", 1)[1].strip() for line in shown.splitlines() if "Candidate:" in line), "none"
    ).strip("()")
    return f"{name} {version}"
