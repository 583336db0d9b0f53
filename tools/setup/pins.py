"""What ``pins.toml`` pins, with a version of Kubernetes from ``distributions.toml`` filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inputs.errors import InputError
from inputs.places import Place, dotted
from inputs.tomlfile import TomlDocument, read_toml
from tools.setup.errors import SetupError
from tools.setup.places import TOOLS

FILE = TOOLS / "pins.toml"
_TABLES: tuple[Place, ...] = (
    ("go", "programs"),
    ("go", "script"),
    ("debian", "operator"),
    ("debian", "node"),
    ("debian", "root"),
    ("images",),
    ("needs", "hosts"),
)
_TEXTS: tuple[Place, ...] = (
    ("go", "minimum"),
    ("go", "script", "module"),
    ("go", "script", "folder"),
    ("go", "script", "path"),
)
_OF_PROGRAMS = ("folder", "package")


def load() -> dict[str, Any]:
    """``pins.toml``; its Kubernetes is of the default minor."""
    pins = read()
    pins["go"]["programs"]["kubernetes"] = kubernetes(pins, pins["go"]["programs"]["kubernetes"]["minor"])
    return pins


def kubernetes(pins: dict[str, Any], minor: str) -> dict[str, Any]:
    """How upstream Kubernetes of a minor is built.

    Raises:
        SetupError: ``distributions.toml`` does not say; with line and key.
    """
    version = "k8s.io/component-base/version"
    major, _, number = minor.partition(".")
    try:
        document = _document(TOOLS / "distributions.toml")
        _require(document, ("upstream", "minors", minor), str, "text in quotes")
    except InputError as error:
        raise SetupError(str(error)) from None
    return {
        **pins["go"]["programs"]["kubernetes"],
        "version": document.content["upstream"]["minors"][minor],
        "modfile": f"{minor}.mod",
        "flags": f"-X {version}.gitMajor={major} -X {version}.gitMinor={number}",
    }


def read(path: Path = FILE) -> dict[str, Any]:
    """What the file says.

    Raises:
        SetupError: it can't be used; with line and key.
    """
    try:
        document = _document(path)
        for place in _TABLES:
            _require(document, place, dict, "a table")
        programs: Place = ("go", "programs")
        for name in document.content["go"]["programs"]:
            # Kubernetes has its version from distributions.toml.
            for key in (*_OF_PROGRAMS, "minor" if name == "kubernetes" else "version"):
                _require(document, (*programs, name, key), str, "text in quotes")
        for place in _TEXTS:
            _require(document, place, str, "text in quotes")
    except InputError as error:
        raise SetupError(str(error)) from None
    return document.content


def _document(path: Path) -> TomlDocument:
    return read_toml(path, f"{path.parent.name}/{path.name}")


def _require(document: TomlDocument, place: Place, kind: type, what: str) -> None:
    inside: Any = document.content
    for part in place:
        inside = inside.get(part) if isinstance(inside, dict) else None
    if not isinstance(inside, kind):
        has = "is missing" if inside is None else f"is {inside!r}"
        msg = f"{document.at(place)}: {dotted(place)}: {has}, and must be {what}. Put back what 'git diff {document.shown}' shows."
        raise InputError(msg)
