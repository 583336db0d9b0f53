"""What ``components/catalog/distributions.toml`` says: each distribution's version for a minor, its artifacts, their digests."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, ValidationInfo, field_validator

from inputs import validation_errors
from inputs.errors import InputError
from inputs.tomlfile import read_toml

FILE = Path(__file__).resolve().with_name("distributions.toml")
_SHOWN = "components/catalog/distributions.toml"
UNPINNED = "unpinned"
VERSION = "{version}"
"""Stands for the version in addresses and names."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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


class _Artifact(_Table):
    file: Annotated[str, Field(min_length=1)]
    base: str | None = None
    sums: str | None = None
    optional: bool = False


class _Distribution(_Table):
    """One table of the file."""

    v: bool = True
    default: str | None = None
    minors: dict[Annotated[str, Field(pattern=r"^1\.\d{1,3}$")], Annotated[str, Field(min_length=1)]]
    base: str = ""
    sums: str = ""
    artifacts: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")], _Artifact] = Field(default_factory=dict)
    digests: dict[str, dict[str, Annotated[str, Field(pattern=r"^([0-9a-f]{64}|unpinned)$")]]] = Field(
        default_factory=dict
    )

    @field_validator("digests")
    @classmethod
    def _are_of_artifacts(cls, value: dict[str, dict[str, str]], info: ValidationInfo) -> dict[str, dict[str, str]]:
        known = info.data.get("artifacts", {})
        for version, digests in value.items():
            if unknown := sorted(set(digests) - set(known)):
                msg = f"{unknown[0]} of {version} is none of the artifacts, which are {', '.join(known) or 'none'}"
                raise ValueError(msg)
        return value


class _Distributions(RootModel[dict[str, _Distribution]]):
    """The whole file."""


@functools.cache
def _all() -> dict[str, _Distribution]:
    """What the file says.

    Raises:
        InputError: it is refused, with line and key.
    """
    return _read(FILE)


def _read(path: Path) -> dict[str, _Distribution]:
    document = read_toml(path, _SHOWN if path == FILE else f"{path.parent.name}/{path.name}")
    try:
        return _Distributions.model_validate(document.content).root
    except ValidationError as error:
        raise InputError(
            validation_errors.sentence(validation_errors.explain(error, _Distributions, document))
        ) from None


def require_whole(path: Path) -> None:
    """See that the file can be used.

    Raises:
        InputError: it is refused, with line and key.
    """
    _read(path)


def default_minor() -> str:
    """The Kubernetes minor of labs that name none: the one that set-up builds."""
    return str(tomllib.loads(FILE.read_text(encoding="utf-8"))["upstream"]["default"])


def versions(distribution: str) -> dict[str, str]:
    """Its pinned version for each minor."""
    return dict(_all()[distribution].minors)


def artifact_names(distribution: str) -> list[str]:
    """What a lab's ``artifacts:`` may name."""
    return sorted(_all()[distribution].artifacts) if distribution in _all() else []


def release(distribution: str, minor: str, version: str | None) -> Release:
    """The version that a lab asks for, else the pinned one of the minor.

    Raises:
        PinError: there is no pin for the minor.
        InputError: the file is refused, with line and key.
    """
    known = _all().get(distribution)
    if known is None:
        msg = f"{_SHOWN} has no [{distribution}]"
        raise PinError(msg)
    chosen = version or known.minors.get(minor)
    if chosen is None:
        msg = (
            f"minor is {minor}, and {_SHOWN} has {distribution} for {', '.join(sorted(known.minors))} alone; "
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
    if known.v and not chosen.startswith("v"):
        chosen = f"v{chosen}"
    digests = known.digests.get(chosen, {})
    pins = []
    for name, artifact in known.artifacts.items():
        quoted = quote(chosen, safe="")
        base = (known.base if artifact.base is None else artifact.base).replace(VERSION, quoted)
        sums = artifact.sums if artifact.sums is not None else known.sums if artifact.base is None else ""
        digest = digests.get(name, UNPINNED)
        pins.append(
            Pin(
                name=name,
                file=artifact.file.replace(VERSION, chosen),
                url=base + artifact.file.replace(VERSION, quoted),
                sums=base + sums if sums else "",
                sha256="" if digest == UNPINNED else digest,
                optional=artifact.optional,
            )
        )
    return Release(distribution, chosen, tuple(pins))
