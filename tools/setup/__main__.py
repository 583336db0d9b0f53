"""``python3 -m tools.setup VERB``: what the Makefile calls."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tools import places, program
from tools.errors import SetupError
from tools.lab import stacks
from tools.progress import Progress
from tools.setup import artifacts, debian, doctor, gobuild, needs, packages, site, vendor, venv
from tools.setup import pins as versions
from tools.setup.cache import claim, is_ours, only_one, remove


def set_up(cache: Path, groups: tuple[str, ...], stack: str, progress: Progress) -> None:
    """Everything that the default lab needs, and what this stack's needs more; what is there already takes no time."""
    began = time.monotonic()
    if os.geteuid() != 0 and not (cache / "rootfs" / "current").exists():
        # Before anything else is fetched or built.
        msg = (
            "The first set-up of a checkout makes the hosts' root image, whose files are root's, and you are not root. Run 'sudo make setup"
            f"{f' STACK={stack}' if stack else ''}', then the same command again."
        )
        raise SetupError(msg)
    pins = versions.load()
    with only_one(cache, progress.say):
        _clear_temporary(cache / "tmp")
        # Below the lock too: two apt-get at once refuse each other.
        packages.install(pins["debian"]["operator"], progress)
        # The network and the processors are different things to wait for: two lanes.
        node, programs = progress.side_by_side(
            lambda: _download_lane(cache, pins, groups, progress), lambda: _build_lane(cache, pins["go"], progress)
        )
        made = {name: path for name, path in programs.items() if not name.startswith("pulumi")}
        assembled = artifacts.assemble(cache, made, node, pins["debian"]["node"], pins["images"])
        artifacts.provide(cache, assembled, pins["go"]["programs"]["kubernetes"]["version"], default=True)
        stacks.prepare()
        stacks.create(cache, stacks.labs(), progress)
        needs.make(cache, pins, stack, made, node, progress)
    if progress.took:
        totals = {kind: sum(s for k, _, s in progress.took if k == kind) for kind in ("download", "build")}
        progress.say(
            f"Set-up took {time.monotonic() - began:.0f} s: downloads {totals['download']:.0f} s, builds {totals['build']:.0f} s (side by side)."
        )


def _clear_temporary(folder: Path) -> None:
    """Delete what builds that were killed left there; younger files may be those of a build by hand."""
    yesterday = time.time() - 86400
    remove(path for path in folder.glob("*") if path.lstat().st_mtime < yesterday)


def _download_lane(cache: Path, pins: dict[str, Any], groups: tuple[str, ...], progress: Progress) -> Path:
    node = debian.node_files(cache, pins["debian"]["node"], progress)
    debian.root_image(cache, pins["debian"]["root"], progress)
    venv.ensure(cache, groups, progress)
    return node


def _build_lane(cache: Path, pins: dict[str, Any], progress: Progress) -> dict[str, Path]:
    go = gobuild.Go(cache, pins["minimum"], progress)
    programs: dict[str, dict[str, Any]] = pins["programs"]
    built = {}
    # Modules come ahead of the builds, one program after another: two fetches at once would wait for the same modules.
    with ThreadPoolExecutor(max_workers=1) as fetches:
        fetched = {
            name: fetches.submit(progress.lane, gobuild.fetch, cache, go, name, pin, progress)
            for name, pin in programs.items()
        }
        try:
            for name, pin in programs.items():
                if vendor.brings(cache, name, pin["version"], progress):
                    continue
                fetched[name].result()
                built[name] = gobuild.build(cache, go, name, pin, progress)
        finally:
            fetches.shutdown(wait=False, cancel_futures=True)
    gobuild.script(cache, go, pins["script"])
    return built


def clean_cache(cache: Path) -> int:
    """Delete what can be rebuilt, unless a lab that runs stands on it."""
    if not cache.is_dir():
        print(f"There is no cache at {cache}: nothing to remove.")
        return 0
    claim(cache)
    with only_one(cache, lambda text: print(text, file=sys.stderr)):
        # The kernel writes blanks in paths as octal.
        escaped = str(cache).replace("\\", "\\134").replace(" ", "\\040")
        if f"lowerdir={escaped}/" in Path("/proc/self/mountinfo").read_text(encoding="utf-8"):
            msg = f"A lab that is up stands on the root image in {cache}. 'make destroy' it first ('make orphans' lists what no stack knows)."
            raise SetupError(msg)
        ours = [p for p in cache.iterdir() if is_ours(p.name)]
        size = sum(
            p.lstat().st_size for top in ours for p in (top, *top.rglob("*")) if p.is_file() and not p.is_symlink()
        )
        remove(ours)
        stays = [str(p) for p in ours if p.exists() or p.is_symlink()]
        if stays:
            msg = f"clean-cache could not remove {', '.join(stays)}: root made them, and you are not. Run 'sudo make clean-cache'."
            raise SetupError(msg)
        # The lock and the mark stay: who waits for the lock must find the same file.
    print(
        f"Removed {size / 2**30:.1f} GiB from {cache} that 'make setup' makes again. State and results in .lab/ are untouched."
    )
    return 0


def main(arguments: list[str]) -> int:
    """Run one verb."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.setup")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("doctor").add_argument("--json", action="store_true")
    setup = verbs.add_parser("setup")
    setup.add_argument("--group", action="append", default=[], choices=venv.GROUPS)
    setup.add_argument("--stack", default="", help="what this stack's lab needs more than the default one")
    verbs.add_parser("image")
    verbs.add_parser("clean-cache")
    verbs.add_parser("hand-over", help="what sudo's root made in the checkout, to who called it")
    given = parser.parse_args(arguments)
    cache = places.cache()
    match given.verb:
        case "doctor":
            return doctor.main(as_json=given.json)
        case "clean-cache":
            return clean_cache(cache)
        case "hand-over":
            places.hand_over()
            return 0
    doctor.require_places(cache)
    progress = program.begin(cache)
    match given.verb:
        case "setup":
            if given.stack:
                # A name that is not there need not wait for a build.
                stacks.require_known(given.stack)
            os.environ.update(site.trust(cache, os.environ))
            try:
                set_up(cache, ("runtime", *given.group), given.stack, progress)
            finally:
                # After a failure too; but a set-up that made nothing does not walk a quarter of a million files for it.
                inside = cache.is_relative_to(places.PROJECT) and (progress.took or progress.failed.is_set())
                places.hand_over(*([cache] if inside else []))
        case "image":
            needs.guest_image(cache, versions.load(), progress)
    return 0


if __name__ == "__main__":
    program.run(main)
