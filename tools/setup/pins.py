"""What ``pins.toml`` pins, with a version of Kubernetes from ``distributions.toml`` filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inputs.errors import InputError
from inputs.places import Place, dotted
from inputs.tomlfile import TomlDocument, read_toml
from tools.errors import SetupError
from tools.places import TOOLS

FILE = TOOLS / "pins.toml"
DISTRIBUTIONS = TOOLS.parent / "components" / "catalog" / "distributions.toml"
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
    pins["go"]["programs"]["kubernetes"] = kubernetes(pins, default_minor())
    return pins


def kubernetes(pins: dict[str, Any], minor: str) -> dict[str, Any]:
    """How upstream Kubernetes of a minor is built.

    Raises:
        SetupError: ``distributions.toml`` does not say; with line and key.
    """
    version = "k8s.io/component-base/version"
    major, _, number = minor.partition(".")
    return {
        **pins["go"]["programs"]["kubernetes"],
        "version": _of_upstream("minors", minor),
        "modfile": f"{minor}.mod",
        "flags": f"-X {version}.gitMajor={major} -X {version}.gitMinor={number}",
    }


def default_minor() -> str:
    """The minor of labs that name none.

    Raises:
        SetupError: ``distributions.toml`` does not say; with line and key.
    """
    return _of_upstream("default")


def _of_upstream(*place: str) -> str:
    try:
        document = read_toml(DISTRIBUTIONS, "components/catalog/distributions.toml")
        return str(_require(document, ("upstream", *place), str, "text in quotes"))
    except InputError as error:
        raise SetupError(str(error)) from None


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
            for key in (*_OF_PROGRAMS, *(() if name == "kubernetes" else ("version",))):
                _require(document, (*programs, name, key), str, "text in quotes")
        for place in _TEXTS:
            _require(document, place, str, "text in quotes")
    except InputError as error:
        raise SetupError(str(error)) from None
    return document.content


def _document(path: Path) -> TomlDocument:
    return read_toml(path, f"{path.parent.name}/{path.name}")


def _require(document: TomlDocument, place: Place, kind: type, what: str) -> Any:
    inside: Any = document.content
    for part in place:
        inside = inside.get(part) if isinstance(inside, dict) else None
    if not isinstance(inside, kind):
        has = "is missing" if inside is None else f"is {inside!r}"
        msg = f"{document.at(place)}: {dotted(place)}: {has}, and must be {what}. Put back what 'git diff {document.shown}' shows."
        raise InputError(msg)
    return inside
