"""What ``tools/distributions.toml`` says: each distribution's version for a minor, its artifacts, their digests."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

FILE = Path(__file__).resolve().parent.parent / "tools" / "distributions.toml"
UNPINNED = "unpinned"


class PinError(Exception):
    """What a lab asks for is not there; one paragraph."""


@dataclass(frozen=True)
class Pin:
    """One artifact of one version.

    Attributes:
        name: as ``artifacts:`` calls it.
        file: its file name at the vendor's.
        url: where the vendor has it.
        sums: the vendor's list of digests that has it, or ``""``.
        sha256: its digest, or ``""`` when nobody has looked it up.
        optional: taken only by labs that name it.
    """

    name: str
    file: str
    url: str
    sums: str
    sha256: str
    optional: bool


@dataclass(frozen=True)
class Release:
    """One version of a distribution."""

    distribution: str
    version: str
    artifacts: tuple[Pin, ...]


@functools.cache
def _all() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def artifact_names(distribution: str) -> list[str]:
    """What a lab's ``artifacts:`` may name."""
    return sorted(_all().get(distribution, {}).get("artifacts", {}))


def release(distribution: str, minor: str, version: str | None) -> Release:
    """The version that a lab asks for, else the pinned one of the minor.

    Raises:
        PinError: there is no pin for the minor.
    """
    known = _all()[distribution]
    chosen = version or known["minors"].get(minor)
    if chosen is None:
        msg = (
            f"minor is {minor}, and {FILE.parent.name}/{FILE.name} has {distribution} for {', '.join(sorted(known['minors']))} alone; "
            "name the version itself, or add it there"
        )
        raise PinError(msg)
    found = re.match(r"v?(1\.\d+)\.", chosen)
    if found and found[1] != minor:
        msg = (
            f"version is {chosen}, which is no {minor}; say minor: '{found[1]}' too, for results tell labs apart by it"
        )
        raise PinError(msg)
    # Vendors write a v; people leave it out.
    if known.get("v", True) and not chosen.startswith("v"):
        chosen = f"v{chosen}"
    digests = known.get("digests", {}).get(chosen, {})
    pins = []
    for name, artifact in known["artifacts"].items():
        address = {"version": quote(chosen, safe="")}
        base = artifact.get("base", known.get("base", "")).format(**address)
        sums = artifact.get("sums", "" if "base" in artifact else known.get("sums", ""))
        digest = digests.get(name, UNPINNED)
        pins.append(
            Pin(
                name=name,
                file=artifact["file"].format(version=chosen),
                url=base + artifact["file"].format(**address),
                sums=base + sums if sums else "",
                sha256="" if digest == UNPINNED else digest,
                optional=artifact.get("optional", False),
            )
        )
    return Release(distribution, chosen, tuple(pins))
