"""The lab's whole configuration: one YAML file in ``stacks/``, single keys overridden by Pulumi configuration.

Unknown keys and values out of range are refused, each named by its path, before anything is made. Here is what all labs have;
a host kind adds settings in its module of ``components/hosts/``, a distribution in its module of ``components/clusters/``.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from components import refusals, registry

DEFAULT_HOST_KIND = "nspawn"
DEFAULT_DISTRIBUTION = "upstream"
DEFAULT_MINOR = "1.34"


class SettingsError(Exception):
    """The lab's settings can't be used; the message is one paragraph for the person who wrote them."""


def _slash_24(value: str) -> str:
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        msg = f"takes a /24 such as 10.87.3.0/24 ({error})"
        raise ValueError(msg) from None
    if network.prefixlen != 24:
        msg = f"takes a /24 such as 10.87.3.0/24, not a /{network.prefixlen}"
        raise ValueError(msg)
    return str(network)


Slash24 = Annotated[str, AfterValidator(_slash_24)]
"""An IPv4 network of 256 addresses."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class HostSettings(_Settings):
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


class Artifact(_Settings):
    """A file, a folder or an address that replaces a download; a plain text is its source."""

    source: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./][A-Za-z0-9_.,:/+=@%-]*$", examples=["files/k0s"])] = Field(
        description="A file, a folder that holds it, or an http(s) address of either (a folder's ends with /)"
    )
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


class Registry(_Settings):
    """Where images of a registry come from; a plain text is its only mirror."""

    mirrors: tuple[
        Annotated[
            str,
            Field(pattern=r"^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?$", examples=["https://mirror.example:5000"]),
        ],
        ...,
    ] = Field(
        min_length=1, description="Addresses of mirrors or caches, asked in this order before the registry itself"
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_text_is_the_mirror(cls, value: Any) -> Any:
        return {"mirrors": [value]} if isinstance(value, str) else value


class LabSettings(_Settings):
    """One lab: its hosts, its distribution, and what is measured on it. Each distribution has its own, with this as its base."""

    distribution: str = Field(DEFAULT_DISTRIBUTION, description="The Kubernetes distribution")
    version: Annotated[str, Field(pattern=r"^v?\d+\.\d+\.\d+([+.-][A-Za-z0-9.+-]+)?$", examples=["1.34.4"])] | None = (
        Field(None, description="Its version; default, the pinned one of the minor")
    )
    minor: Annotated[str, Field(pattern=r"^1\.\d{1,3}$", examples=["1.34"])] = Field(
        DEFAULT_MINOR, description="The Kubernetes minor; the same for labs that are compared"
    )
    addons: Literal["minimal", "vendor"] = Field(
        "minimal",
        description="minimal: network, DNS and proxy alone, so that labs are alike; vendor: the vendor's defaults",
    )
    artifacts: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")], Artifact] = Field(
        default_factory=dict,
        description="What replaces a download, by the artifact's name in tools/distributions.toml; a plain text is its source",
    )
    images: tuple[Image, ...] = Field(
        (), description="Container images that hosts have before anything starts; a plain text is its source"
    )
    proxy: (
        Annotated[
            str,
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
    hosts: HostSettings = Field(default_factory=lambda: HostSettings.model_validate({}))
    controllers: Literal[1, 3] = Field(1, description="Hosts that run the control plane")
    workers: Annotated[int, Field(ge=0, le=100)] = Field(2, description="Hosts that only run workloads")
    controller_runs_workloads: bool = Field(False, description="Let the controller run workloads too")
    workloads: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", examples=["pods-8"])], ...] = Field(
        (), description="Workloads to measure, in this order: names in benchmarks/workloads/, or paths"
    )
    repeats: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="Measured repeats of each workload")

    @property
    def host_count(self) -> int:
        """How many hosts the lab has."""
        return self.controllers + self.workers

    @property
    def pinned_as(self) -> str:
        """Its section in ``tools/distributions.toml``."""
        return self.distribution

    @field_validator("workloads")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        outside = [workload for workload in value if ".." in workload.split("/")]
        if outside:
            msg = f"{outside[0]} leads out of its folder; name a file by its path below the project"
            raise ValueError(msg)
        # Each is one resource, named after it with a hyphen for a slash.
        names = [workload.replace("/", "-") for workload in value]
        twice = sorted({w for w, n in zip(value, names, strict=True) if names.count(n) > 1})
        if twice:
            msg = f"each workload is measured once, by one step of its name, and {' and '.join(twice)} would share one; repeats says how often"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _something_runs_workloads(self) -> LabSettings:
        if self.workers == 0 and not self.controller_runs_workloads:
            msg = "workers is 0 and controllerRunsWorkloads is false, so no host may run a pod; set one of them"
            raise ValueError(msg)
        return self


SITE_KEYS = ("proxy", "noProxy", "ca", "registries")
"""What a file for all labs may hold."""


def load(folder: Path, stack: str, lab: str, overrides: Mapping[str, Any], site: Path | None = None) -> LabSettings:
    """Read the lab of a stack.

    Args:
        folder: where lab files are.
        stack: the stack's name, and the lab's unless ``lab`` is given.
        lab: a lab's name, or ``""``.
        overrides: single settings, nested as in the file; they win.
        site: a file with what all labs share, if there is one; the lab's own file wins.

    Raises:
        SettingsError: no such lab, or settings that can't be used.
    """
    name = lab or stack
    path = folder / f"{name}.yaml"
    labs = sorted(p.stem for p in folder.glob("*.yaml"))
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", stack):
        msg = (
            f"Stack {stack!r}: a lab's name becomes part of host, link and folder names, so it takes small letters, "
            "digits and hyphens, 40 at most. Make one with 'make stack NAME=my-lab FROM=upstream-lab'."
        )
        raise SettingsError(msg)
    if name not in labs:
        near = refusals.nearest(name, labs)
        msg = (
            f"Stack {stack}: there is no lab {name!r} in {folder.name}/.{near} Labs: {', '.join(labs)}. "
            f"Name one with 'pulumi config set --stack {stack} litelab:lab LAB', or make its file."
        )
        raise SettingsError(msg)
    content = _mapping(path, "a lab", "distribution: upstream")
    shared = {}
    if site is not None and site.exists():
        shared = _mapping(site, "what all labs share", "proxy: http://proxy.example:3128")
        if other := sorted(set(map(str, shared)) - set(SITE_KEYS)):
            msg = f"{site.parent.name}/{site.name}: {', '.join(other)} can't be shared by all labs; it takes {', '.join(SITE_KEYS)}. Nothing was made."
            raise SettingsError(msg)
    from_site = f", or {site.parent.name}/{site.name}" if site is not None and shared else ""
    where = f"{folder.name}/{path.name} (or litelab: configuration of stack {stack}{from_site})"
    return parse(_merge(_moved(_merge(shared, content), overrides), overrides), where)


def _mapping(path: Path, what: str, example: str) -> dict[str, Any]:
    """A YAML file of keys and values; an empty one has none."""
    where = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        msg = f"{where} is not YAML: {' '.join(str(error).split())}. Mend it and run again."
        raise SettingsError(msg) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        msg = f"{where} holds a {type(content).__name__}, and {what} is a mapping such as '{example}'."
        raise SettingsError(msg)
    return content


def parse(content: Mapping[str, Any], where: str) -> LabSettings:
    """Check a lab's settings; ``where`` names their source in errors.

    Raises:
        SettingsError: naming every key that is wrong, by its path, with the cure.
    """
    hosts = content.get("hosts")
    kind = hosts.get("kind") if isinstance(hosts, Mapping) else None
    model = model_for(
        _one_of(registry.distributions(), content.get("distribution", DEFAULT_DISTRIBUTION), "distribution", where),
        _one_of(registry.host_kinds(), kind or DEFAULT_HOST_KIND, "hosts.kind", where),
    )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = refusals.explain(error, model)
        msg = f"{where}: {problems}{'' if problems.endswith('?') else '.'} Nothing was made."
        raise SettingsError(msg) from None


@functools.cache
def model_for(distribution: str, kind: str) -> type[LabSettings]:
    """The settings of a lab of this distribution on hosts of this kind; both are names that the registry knows."""
    hosts = registry.host_kind(kind).settings
    return create_model(
        "LabSettings",
        __base__=registry.distribution(distribution).settings,
        hosts=(hosts, Field(default_factory=lambda: hosts.model_validate({}), description="What every host is")),
    )


def _one_of(known: list[str], value: object, key: str, where: str) -> str:
    if isinstance(value, str) and value in known:
        return value
    msg = f"{where}: {key}: takes one of {', '.join(known)}, and it is {value!r}.{refusals.nearest(str(value), known)} Nothing was made."
    raise SettingsError(msg)


def typed(key: str, value: Any) -> Any:
    """The value of configuration ``litelab:<key>`` as YAML would read it; Pulumi keeps all of them as text.

    Raises:
        SettingsError: it is no YAML.
    """
    try:
        return yaml.safe_load(value) if isinstance(value, str) and value else value
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        msg = f"litelab:{key}: its value in the stack's configuration is not YAML: {why}. Nothing was made."
        raise SettingsError(msg) from error


def _moved(content: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A lab without what only its own kind of hosts has, when the stack asks for another kind."""
    hosts, over = content.get("hosts"), overrides.get("hosts")
    kind = over.get("kind") if isinstance(over, Mapping) else None
    known = registry.host_kinds()
    if not isinstance(hosts, Mapping) or kind not in known or hosts.get("kind") not in known or kind == hosts["kind"]:
        return content

    def keys(of: str) -> set[str]:
        return {f.alias or name for name, f in registry.host_kind(of).settings.model_fields.items()}

    theirs = keys(hosts["kind"]) - keys(str(kind))
    return {**content, "hosts": {key: value for key, value in hosts.items() if key not in theirs}}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
