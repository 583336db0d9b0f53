"""The workload files that a lab names: found, and read by ``benchmarks`` itself before anything is made."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from components.config.settings import LabSettings, SettingsError
from components.places import PROJECT, cache_folder
from components.steps.digests import digest_of, short_digest
from inputs import suggestions, textfile
from inputs.errors import InputError
from inputs.yamlfile import MOST_BYTES

SHIPPED = PROJECT / "benchmarks" / "workloads"
CHECK_S = 60


def require(lab: LabSettings) -> None:
    """Read the workload files as the benchmarks will.

    Raises:
        SettingsError: one is not there or is refused, with its file, line and key.
    """
    for number, workload in enumerate(lab.workloads):
        try:
            digest(workload)
        except InputError as error:
            msg = f"{lab.at('workloads', number)}: {error} Nothing was made."
            raise SettingsError(msg) from None
    if not lab.workloads:
        return
    # The same code that reads them later; who measures imports nothing of who builds.
    found = _refusals(lab.workloads, lab.repeats, _key(lab))
    for number, workload in enumerate(lab.workloads):
        if found.get(workload):
            msg = f"{lab.at('workloads', number)}: {found[workload]} Nothing was made."
            raise SettingsError(msg)


def path_of(workload: str) -> Path:
    """A workload's file: one that comes with the suite, or a path from ``/`` or below the project."""
    shipped = SHIPPED / f"{workload}.yaml"
    return shipped if re.fullmatch(r"[-a-z0-9]+", workload) and shipped.is_file() else PROJECT / workload


def digest(workload: str) -> str:
    """First 12 hex digits of the SHA-256 of a workload's file.

    Raises:
        InputError: there is no such workload, or its file can't be read.
    """
    path = path_of(workload)
    if not os.path.lexists(path):
        known = sorted(p.stem for p in SHIPPED.glob("*.yaml"))
        msg = (
            f"there is no workload {workload!r}.{suggestions.nearest(workload, known)} Workloads here: {', '.join(known)}; or name a file by "
            "its path, from / or below the project."
        )
        raise InputError(msg)
    return short_digest(textfile.read_bytes(path, workload, most_bytes=MOST_BYTES))


def _key(lab: LabSettings) -> str:
    """What the answer depends on: the code, the files and the repeats."""
    told = [*(digest(workload) for workload in lab.workloads), *lab.workloads, str(lab.repeats), sys.version]
    return hashlib.sha256("\n".join([_code(), *told]).encode()).hexdigest()


@functools.cache
def _code() -> str:
    return digest_of(PROJECT / "inputs", PROJECT / "benchmarks")


@functools.cache
def _refusals(workloads: tuple[str, ...], repeats: int, key: str) -> dict[str, str]:
    """What is wrong with each workload, or an empty text."""
    good = cache_folder() / "checked" / f"workloads-{key[:16]}"
    if good.exists():
        return {}
    command = [sys.executable, "-m", "benchmarks", "check", "--json", "--repeats", str(repeats), "--", *workloads]
    asked = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=CHECK_S, stdin=subprocess.DEVNULL
    )
    try:
        found: dict[str, str] = json.loads(asked.stdout)
    except ValueError:
        msg = f"'python -m benchmarks check' failed: {asked.stderr[-300:] or f'exit code {asked.returncode}'}. Run it by hand."
        raise SettingsError(" ".join(msg.split())) from None
    if not any(found.values()):
        # Another user's cache, or a full disk: it is checked again next time.
        with contextlib.suppress(OSError):
            good.parent.mkdir(parents=True, exist_ok=True)
            good.touch()
    return found
