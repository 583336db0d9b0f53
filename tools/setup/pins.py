"""What ``pins.toml`` pins, with a version of Kubernetes from ``distributions.toml`` filled in."""

from __future__ import annotations

import tomllib
from typing import Any

from tools.setup.places import TOOLS


def load() -> dict[str, Any]:
    """``pins.toml``; its Kubernetes is of the default minor."""
    pins = tomllib.loads((TOOLS / "pins.toml").read_text(encoding="utf-8"))
    pins["go"]["programs"]["kubernetes"] = kubernetes(pins, pins["go"]["programs"]["kubernetes"]["minor"])
    return pins


def kubernetes(pins: dict[str, Any], minor: str) -> dict[str, Any]:
    """How upstream Kubernetes of a minor is built."""
    known = tomllib.loads((TOOLS / "distributions.toml").read_text(encoding="utf-8"))
    version = "k8s.io/component-base/version"
    major, _, number = minor.partition(".")
    return {
        **pins["go"]["programs"]["kubernetes"],
        "version": str(known["upstream"]["minors"][minor]),
        "modfile": f"{minor}.mod",
        "flags": f"-X {version}.gitMajor={major} -X {version}.gitMinor={number}",
    }
