"""Mirrors of registries in the form of CRI-O, MicroShift's container runtime."""

from __future__ import annotations

import re
from collections.abc import Mapping

from components.config.settings import Registry
from components.site.mirrors import API, LOGINS, Mirror, login_file, mirrors_of

_OF_A_NAME = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
"""What stands between the slashes of an image's name (distribution/reference)."""


def crio(registries: Mapping[str, Registry], with_ca: bool, logins: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG001 # hosts trust it already
    """For CRI-O (containers-registries.conf(5), crio.conf(5)); a prefix is a registry's name, or one of its subdomains.

    Raises:
        ValueError: it has no form for all others (``*``), or for the path of a mirror.
    """
    if "*" in registries:
        msg = (
            "'*' can't be told to microshift, whose CRI-O takes mirrors of registries by their names alone. "
            "Name each one (docker.io, quay.io, registry.k8s.io)."
        )
        raise ValueError(msg)
    lines = []
    for name, registry in registries.items():
        lines.append(f'[[registry]]\nprefix = "{name}"\nlocation = "{name}"\n')
        for mirror in mirrors_of(registry):
            lines.append(f'[[registry.mirror]]\nlocation = "{_location(mirror)}"\n')
            # CRI-O speaks https first even so, and then trusts whoever answers.
            lines.extend(["insecure = true\n"] if mirror.origin.startswith("http://") else [])
    found = {"etc/containers/registries.conf.d/99-litelab-site.conf": "".join(lines)}
    if logins:
        found["etc/crio/crio.conf.d/99-litelab-site.conf"] = f'[crio.image]\nglobal_auth_file = "/{LOGINS}"\n'
    return found | login_file(logins)


def _location(mirror: Mirror) -> str:
    """Host and path, without the ``/v2`` that CRI-O itself puts between them."""
    _, api, *segments = mirror.path.split("/") if mirror.path else ("", API)
    if api != API:
        msg = (
            f"{mirror.address} can't be told to microshift, whose CRI-O asks every mirror below /v2. "
            "Name a mirror whose API begins there."
        )
        raise ValueError(msg)
    if strange := next((segment for segment in segments if not _OF_A_NAME.fullmatch(segment)), ""):
        msg = (
            f"{mirror.address} can't be told to microshift: for its CRI-O the path is part of an image's name, which can't hold "
            f"{strange!r}. Name a mirror whose path has small letters, digits, and single marks between them."
        )
        raise ValueError(msg)
    return "/".join([mirror.host, *segments])
