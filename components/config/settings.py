"""What every lab can be told. A host kind adds settings in its module of ``components/hosts/``, a distribution in its module of
``components/clusters/``; ``lab_file.py`` puts them together and reads them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from components.catalog import pins
from components.config.layers import Given
from inputs.errors import one_paragraph
from inputs.limits import MOST_REPEATS, WORKLOAD, workload_label
from inputs.model import InputModel
from inputs.places import Place, dotted
from inputs.validation_errors import VALUE_NOT_SHOWN

DEFAULT_HOST_KIND = "nspawn"
DEFAULT_DISTRIBUTION = "upstream"
DEFAULT_MINOR = pins.default_minor()


class SettingsError(Exception):
    """The lab's settings can't be used; the message is one paragraph for the person who wrote them."""

    def __init__(self, message: str) -> None:
        super().__init__(one_paragraph(message))


def _slash_24(value: str) -> str:
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        msg = f"takes a /24 such as 10.87.3.0/24 ({error})"
        raise ValueError(msg) from None
    if network.prefixlen != 24:
        msg = f"takes a /24 such as 10.87.3.0/24, not a /{network.prefixlen}"
        raise ValueError(msg)
    if why := reserved(network):
        msg = f"{network} can't be a network of hosts: {why}; take a private one such as 10.87.3.0/24"
        raise ValueError(msg)
    return str(network)


RESERVED = {
    "0.0.0.0/8": "means this network",
    "127.0.0.0/8": "is each machine's own loopback",
    "169.254.0.0/16": "is link-local",
    "224.0.0.0/4": "is for multicast",
    "240.0.0.0/4": "is reserved",
}
"""What IPv4 keeps for itself (RFC 6890)."""


def reserved(network: ipaddress.IPv4Network) -> str:
    """Why hosts can't have addresses of a network; empty when they can."""
    for kept, why in RESERVED.items():
        if network.overlaps(ipaddress.IPv4Network(kept)):
            return f"{kept} {why}"
    return ""


Slash24 = Annotated[str, AfterValidator(_slash_24)]
"""An IPv4 network of 256 addresses."""


class HostSettings(InputModel):
    """What every host of the lab is: all hosts are alike. Each kind has its own, with this as its base."""

    kind: str = Field(DEFAULT_HOST_KIND, description="What the hosts are made of")
    cpus: Annotated[int, Field(ge=1, le=256)] = Field(2, description="Processors of each host")
    memory_mib: Annotated[int, Field(ge=1024, le=1048576)] = Field(2048, description="Memory of each host, MiB")
    internet: bool = Field(False, description="Give hosts a way out")

    @property
    def is_local(self) -> bool:
        """Whether hosts run on this machine, so that set-up must make it ready for them."""
        return False

    @property
    def builds_image(self) -> bool:
        """Whether hosts boot an image that set-up builds beside the default lab's root."""
        return False

    def facts(self) -> dict[str, Any]:
        """What results say of the hosts beside processors and memory."""
        return {}

    def networks(self) -> dict[Place, str]:
        """Networks that hosts are known to be in, by the setting that names them."""
        return {}


def without_login(instead: str, sign: str = "@") -> BeforeValidator:
    """Refuses an address with a login (``https://USER:PASSWORD@HOST``), which messages must not show; ``sign`` tells one, as a regular expression."""

    def checked(value: Any) -> Any:
        if isinstance(value, str) and re.search(sign, value):
            raise PydanticCustomError(
                VALUE_NOT_SHOWN, "holds a login (USER:PASSWORD@): {instead}", {"instead": instead}
            )
        return value

    return BeforeValidator(checked)


NO_LOGIN_OF_A_SOURCE = without_login(
    "it would stand in the state and in messages; download the file yourself, and name it by its path", "://[^/]*@"
)


class Artifact(InputModel):
    """A file, a folder or an address that replaces a download; a plain text is its source."""

    source: Annotated[
        str,
        NO_LOGIN_OF_A_SOURCE,
        Field(pattern=r"^[A-Za-z0-9_./][A-Za-z0-9_.,:/+=@%-]*$", examples=["files/k0s"]),
    ] = Field(description="A file, a folder that holds it, or an http(s) address of either (a folder's ends with /)")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(None, description="Its digest, in hex")

    @model_validator(mode="before")
    @classmethod
    def _plain_text_is_the_source(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class Image(Artifact):
    """A tar of container images, or a folder of such tars, that hosts have before anything starts."""

    name: (
        Annotated[
            str, Field(pattern=r"^[a-z0-9][a-z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9._-]*$", examples=["litelab/pause:1"])
        ]
        | None
    ) = Field(None, alias="as", description="The name that the tar's only image gets, with registry and tag")


MirrorAddress = Annotated[
    str,
    without_login(
        "take it out of the address, and name the file that 'docker login' writes in registriesAuth (docs/site.md)"
    ),
    Field(
        pattern=r"^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?(/[A-Za-z0-9_][A-Za-z0-9._-]*)*/?$",
        examples=["https://mirror.example:5000"],
    ),
]
"""Of a mirror, as ``components/site/mirrors.py`` reads it."""


class Registry(InputModel):
    """Where images of a registry come from; a plain text is its only mirror."""

    mirrors: tuple[MirrorAddress, ...] = Field(
        min_length=1, description="Addresses of mirrors or caches, asked in this order before the registry itself"
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_text_is_the_mirror(cls, value: Any) -> Any:
        return {"mirrors": [value]} if isinstance(value, str) else value


class LabSettings(InputModel):
    """One lab: its hosts, its distribution, and what is measured on it. Each distribution has its own, with this as its base."""

    distribution: str = Field(DEFAULT_DISTRIBUTION, description="The Kubernetes distribution")
    version: Annotated[str, Field(pattern=r"^v?\d+\.\d+\.\d+([+.-][A-Za-z0-9.+-]+)?$", examples=["1.35.4"])] | None = (
        Field(None, description="Its version; default, the pinned one of the minor")
    )
    minor: Annotated[str, Field(pattern=r"^1\.\d{1,3}$", examples=["1.35"])] = Field(
        DEFAULT_MINOR, description="The Kubernetes minor; the same for labs that are compared"
    )
    addons: Literal["minimal", "vendor"] = Field(
        "minimal",
        description="minimal: network, DNS and proxy alone, so that labs are alike; vendor: the vendor's defaults",
    )
    artifacts: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")], Artifact] = Field(
        default_factory=dict,
        description="What replaces a download, by the artifact's name in components/catalog/distributions.toml; a plain text is its source",
    )
    images: tuple[Image, ...] = Field(
        (), description="Container images that hosts have before anything starts; a plain text is its source"
    )
    proxy: (
        Annotated[
            str,
            without_login("it would stand in every unit's environment; name a proxy that asks hosts for none"),
            Field(pattern=r"^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?/?$", examples=["http://proxy.example:3128"]),
        ]
        | None
    ) = Field(None, description="The HTTP proxy by which hosts, and what is installed on them, reach what is outside")
    no_proxy: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.][A-Za-z0-9.:/-]*$", examples=[".example"])], ...] = (
        Field((), description="Names, domains and networks that are reached without it, beside private networks")
    )
    ca: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./][A-Za-z0-9_./+-]*$", examples=["/etc/ssl/mine.pem"])] | None = (
        Field(None, description="A PEM file of authorities that hosts trust, from / or below the project")
    )
    registries: dict[Annotated[str, Field(pattern=r"^(\*|[a-z0-9][a-z0-9.-]*(:\d{1,5})?)$")], Registry] = Field(
        default_factory=dict,
        description="Mirrors or caches of registries, by the registry's name; * for all others; a plain text is its only mirror",
    )
    registries_auth: (
        Annotated[str, Field(pattern=r"^(~/)?[A-Za-z0-9_./][A-Za-z0-9_./+-]*$", examples=["~/.docker/config.json"])]
        | None
    ) = Field(
        None, description="The mirrors' logins: a file that docker login has written, from /, ~ or below the project"
    )
    hosts: HostSettings = Field(default_factory=lambda: HostSettings.model_validate({}))
    controllers: Literal[1, 3] = Field(1, description="Hosts that run the control plane")
    workers: Annotated[int, Field(ge=0, le=100)] = Field(2, description="Hosts that only run workloads")
    controller_runs_workloads: bool = Field(False, description="Let the controller run workloads too")
    workloads: tuple[Annotated[str, Field(pattern=f"^{WORKLOAD}$", examples=["pods-8"])], ...] = Field(
        (),
        description="Workloads to measure, in this order: names in benchmarks/workloads/, or paths, from / or below the project ([workloads.md](workloads.md))",
    )
    repeats: Annotated[int, Field(ge=1, le=MOST_REPEATS)] = Field(3, description="Measured repeats of each workload")
    _given: Given | None = PrivateAttr(None)

    def where_given(self, given: Given) -> Self:
        """The same settings, which know where they were written."""
        self._given = given
        return self

    def at(self, *place: int | str) -> str:
        """A key, with the file and line where it was written: ``stacks/x.yaml:7: artifacts.k0s``."""
        key = dotted(place)
        return f"{self._given.at(place)}: {key}" if self._given else key

    @property
    def host_count(self) -> int:
        """How many hosts the lab has."""
        return self.controllers + self.workers

    @property
    def pinned_as(self) -> str:
        """Its section in ``components/catalog/distributions.toml``."""
        return self.distribution

    @field_validator("workloads")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        outside = [workload for workload in value if ".." in workload.split("/")]
        if outside:
            msg = f"{outside[0]} leads out of its folder; name a file by its path from / or below the project"
            raise ValueError(msg)
        # Each is one resource, named after it with a hyphen for a slash.
        names = [workload_label(workload) for workload in value]
        twice = sorted({w for w, n in zip(value, names, strict=True) if names.count(n) > 1})
        if twice:
            msg = f"each workload is measured once, by one step of its name, and {' and '.join(twice)} would share one; repeats says how often"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _logins_are_of_mirrors(self) -> LabSettings:
        if self.registries_auth is not None and not self.registries:
            msg = "registriesAuth has the logins of mirrors, and registries names no mirror; name one, or leave registriesAuth out"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _something_runs_workloads(self) -> LabSettings:
        if self.workers == 0 and not self.controller_runs_workloads:
            msg = "workers is 0 and controllerRunsWorkloads is false, so no host may run a pod; set one of them"
            raise ValueError(msg)
        return self
