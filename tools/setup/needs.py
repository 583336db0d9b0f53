"""What only some labs need: packages of this machine, Python packages, programs and images, by ``[needs]`` in ``pins.toml``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tools.errors import SetupError
from tools.lab import stacks
from tools.places import PROJECT
from tools.progress import Progress
from tools.setup import artifacts, gobuild, guestimage, packages, vendor, venv
from tools.setup import pins as versions


def make(
    cache: Path, pins: dict[str, Any], stack: str, programs: dict[str, Path], node: Path, progress: Progress
) -> None:
    """Install and build it; nothing for a lab that the default set-up is enough for, or for a stack that is not there.

    Args:
        cache: the cache folder.
        pins: as ``pins.load`` gives them.
        stack: whose lab.
        programs: what goes to hosts of the default lab, by name.
        node: unpacked files of Debian packages.
        progress: where it is shown.

    Raises:
        SetupError: the stack's settings can't be used, or something can't be made.
    """
    if not stack or not stacks.exists(stack):
        return
    stacks.restore_settings(cache, stack)
    lab = _lab(cache, stack)
    if lab["kubernetes"]:
        kubernetes(cache, pins, lab["kubernetes"], programs, node, progress)
    need = pins.get("needs", {}).get("hosts", {}).get(lab["hosts"])
    if need is None:
        return
    debian = {
        **need.get("debian", {}),
        **(need.get("local", {}) if lab["local"] else {}),
        **(need.get("builds", {}) if lab["image"] else {}),
    }
    if debian:
        packages.install(debian, progress)
    venv.ensure(cache, tuple(need.get("groups", ())), progress)
    progress.side_by_side(
        lambda: _programs(cache, pins["go"]["minimum"], need.get("programs", {}), progress),
        lambda: guest_image(cache, pins, progress) if lab["image"] else None,
    )


def kubernetes(
    cache: Path, pins: dict[str, Any], minor: str, programs: dict[str, Path], node: Path, progress: Progress
) -> None:
    """What goes to hosts that run upstream Kubernetes of another minor than the default one."""
    pin = versions.kubernetes(pins, minor)
    if pin["version"] == pins["go"]["programs"]["kubernetes"]["version"]:
        return
    go = gobuild.Go(cache, pins["go"]["minimum"], progress)
    gobuild.fetch(cache, go, "kubernetes", pin, progress)
    program = gobuild.build(cache, go, "kubernetes", pin, progress, in_place=False)
    made = artifacts.assemble(cache, {**programs, "kubernetes": program}, node, pins["debian"]["node"], pins["images"])
    artifacts.provide(cache, made, pin["version"], default=False)


def _programs(cache: Path, minimum: str, programs: dict[str, dict[str, Any]], progress: Progress) -> None:
    ours = {n: pin for n, pin in programs.items() if not vendor.brings(cache, n, pin["version"], progress)}
    if not ours:
        return
    go = gobuild.Go(cache, minimum, progress)
    for name, pin in ours.items():
        gobuild.fetch(cache, go, name, pin, progress)
        gobuild.build(cache, go, name, pin, progress)


def guest_image(cache: Path, pins: dict[str, Any], progress: Progress) -> None:
    """The image that libvirt guests boot unless their lab names another."""
    pin = pins["needs"]["hosts"]["libvirt"]["image"]
    guestimage.build(cache, pin, pins["debian"]["root"]["packages"], progress)


def _lab(cache: Path, stack: str) -> dict[str, Any]:
    command = [str(cache / "venv" / "bin" / "python3"), "-m", "components.checks.needs", stack]
    asked = subprocess.run(
        command, cwd=PROJECT, env=stacks.environment(cache), capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        raise SetupError(asked.stderr.strip())
    found: dict[str, Any] = json.loads(asked.stdout)
    return found
