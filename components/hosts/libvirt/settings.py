"""What a lab's file says of its guests."""

from __future__ import annotations

import functools
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, ValidationError, field_validator, model_validator

from components.config.settings import NO_LOGIN_OF_A_SOURCE, HostSettings, Slash24
from inputs import suggestions, tomlfile, validation_errors
from inputs.errors import InputError
from inputs.model import InputModel
from inputs.places import Place

IMAGES = Path(__file__).resolve().parent / "scripts" / "images.toml"
BUILT_IMAGE = "debian"
"""The image that ``make image`` builds."""


class Size(InputModel):
    """What each guest gets; a plain name stands for one of ``SIZES``."""

    cpus: Annotated[int, Field(ge=1, le=256)] = Field(description="Processors")
    memory_gib: Annotated[float, Field(ge=1, le=1024)] = Field(description="Memory, GiB")
    disk_gib: Annotated[int, Field(ge=2, le=16384)] = Field(description="Disk, GiB")

    @model_validator(mode="before")
    @classmethod
    def _plain_name_is_a_size(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in SIZES:
            msg = f"takes {', '.join(SIZES)}, or a mapping of cpus, memoryGib and diskGib"
            raise ValueError(msg)
        return SIZES[value]


SIZES: dict[str, dict[str, Any]] = {
    "small": {"cpus": 2, "memoryGib": 2, "diskGib": 10},
    # The study's own: two processors and 8 GB.
    "study": {"cpus": 2, "memoryGib": 8, "diskGib": 30},
}


class Image(InputModel):
    """What guests boot: a name that ``components/hosts/libvirt/scripts/images.toml`` knows, or a disk image by path or address."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", examples=["debian"])] | None = Field(
        None, description="debian (built by make image), or one of images.toml"
    )
    source: (
        Annotated[str, NO_LOGIN_OF_A_SOURCE, Field(pattern=r"^(/|https?://)\S+$", examples=["/images/ubuntu.qcow2"])]
        | None
    ) = Field(None, description="A qcow2 or raw disk: an absolute path, or an http(s) address in a release folder")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(None, description="Its digest, in hex")

    @model_validator(mode="before")
    @classmethod
    def _plain_text_is_a_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        known = [BUILT_IMAGE, *sorted(known_images())]
        if value is not None and value not in known:
            near = suggestions.nearest(value, known)
            msg = f"takes {', '.join(known)}, and not {value!r}; or give source and sha256 of one.{near}"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _is_a_name_or_a_digest(self) -> Image:
        if (self.name is None) == (self.source is None):
            msg = "takes a name, or a source and its sha256"
            raise ValueError(msg)
        if (self.source is None) != (self.sha256 is None):
            msg = "sha256 and source go together: what guests boot is checked, and libvirt checks nothing"
            raise ValueError(msg)
        return self


class _KnownImage(InputModel):
    """An entry of ``images.toml``."""

    source: Annotated[str, Field(pattern=r"^https?://\S+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _KnownImages(RootModel[dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")], _KnownImage]]):
    """The whole of ``images.toml``."""


@functools.cache
def known_images() -> list[str]:
    """Names that ``images.toml`` has.

    Raises:
        InputError: the file is refused, with line and key.
    """
    document = tomlfile.read_toml(IMAGES, str(IMAGES.relative_to(IMAGES.parents[4])))
    try:
        return list(_KnownImages.model_validate(document.content).root)
    except ValidationError as error:
        raise InputError(validation_errors.sentence(validation_errors.explain(error, _KnownImages, document))) from None


UNVERIFIED = {"no_verify", "known_hosts_verify"}
"""Of libvirt's parameters for ssh, those that let any machine answer."""
NOT_FOR_ALL = {"knownhosts", "known_hosts", "command"}
"""Those that of virsh, libvirt's provider and ssh not each one takes; the operator's ssh configuration is for all three."""


def _require_one_meaning(parts: urllib.parse.SplitResult) -> None:
    """virsh, libvirt's provider and our own ssh go to the same machine as the same user, and verify it.

    Raises:
        ValueError: what stands in the way.
    """
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or not parts.hostname:
        msg = "takes qemu+ssh://user@machine:port/system with a port from 1 to 65535"
        raise ValueError(msg)
    if not parts.username or parts.password is not None:
        msg = "needs the user to log in as, and no password: qemu+ssh://USER@MACHINE/system (libvirt's provider takes no user from ssh's configuration)"
        raise ValueError(msg)
    given = set(urllib.parse.parse_qs(parts.query, keep_blank_values=True))
    if found := sorted(given & UNVERIFIED):
        msg = (
            f"has {found[0]}, and the machine's key is always verified: keys of hosts go over that connection; leave it out, and log in there once "
            "with ssh"
        )
        raise ValueError(msg)
    if found := sorted(given & NOT_FOR_ALL):
        msg = f"has {found[0]}, which virsh, libvirt's provider and ssh don't all take; say it in ssh's own configuration (~/.ssh/config)"
        raise ValueError(msg)


class LibvirtSettings(HostSettings):
    """The hosts of a libvirt lab."""

    kind: Literal["libvirt"] = Field("libvirt", description="What the hosts are made of")
    size: Size = Field(
        default_factory=lambda: Size.model_validate("small"), description="small, study, or each by itself"
    )
    cpus: Annotated[int, Field(ge=1, le=256)] = Field(2, description="Processors of each guest; default, the size's")
    memory_mib: Annotated[int, Field(ge=1024, le=1048576)] = Field(2048, description="Memory, MiB; default, the size's")
    disk_gib: Annotated[int, Field(ge=2, le=16384)] = Field(10, description="Disk, GiB; default, the size's")
    image: Image = Field(default_factory=lambda: Image.model_validate("debian"), description="What guests boot")
    accelerator: Literal["kvm", "tcg"] = Field(
        "kvm", description="kvm, or tcg: emulated, many times slower, marked in results and never compared with kvm"
    )
    uri: str = Field(
        "qemu:///system",
        description="Where libvirt is, as virsh takes it; `qemu+ssh://user@machine/system` for another machine, through which hosts are reached",
    )
    storage: Annotated[str, Field(pattern=r"^/\S*$", examples=["/var/lib/libvirt/images"])] | None = Field(
        None, description="The folder on libvirt's machine below which the lab's pool is made"
    )
    subnet: Slash24 | None = Field(None, description="The lab's IPv4 /24; default, one that is not in use")
    internet: bool = Field(False, description="Give hosts a way out, by libvirt's NAT")

    @model_validator(mode="before")
    @classmethod
    def _size_fills_what_is_not_given(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        size = value.get("size", "small")
        known = SIZES.get(size) if isinstance(size, str) else size
        if not isinstance(known, Mapping):
            return value
        filled = {k: known[k] for k in ("cpus", "diskGib") if k in known}
        if isinstance(known.get("memoryGib"), int | float):
            filled["memoryMib"] = round(known["memoryGib"] * 1024)
        return {**filled, **value}

    @field_validator("uri")
    @classmethod
    def _is_an_address_of_libvirt(cls, value: str) -> str:
        if not re.fullmatch(r"(qemu|qemu\+unix|qemu\+ssh)://\S*/(system|session)(\?\S*)?", value):
            msg = "takes qemu:///system, qemu:///session or qemu+ssh://user@machine/system"
            raise ValueError(msg)
        parts = urllib.parse.urlsplit(value)
        if parts.scheme == "qemu+ssh" and parts.netloc:
            _require_one_meaning(parts)
        return value

    @property
    def is_local(self) -> bool:
        """Whether guests run on this machine."""
        return not urllib.parse.urlsplit(self.uri).netloc

    @property
    def through(self) -> str:
        """The machine through which hosts are reached, for OpenSSH: ``ssh://USER@MACHINE[:PORT][?keyfile=FILE]``; else nothing."""
        parts = urllib.parse.urlsplit(self.uri)
        if parts.scheme != "qemu+ssh" or self.is_local:
            return ""
        keyfile = urllib.parse.parse_qs(parts.query).get("keyfile", [])
        query = (
            urllib.parse.urlencode({"keyfile": keyfile[0]}, quote_via=urllib.parse.quote, safe="/~$") if keyfile else ""
        )
        return urllib.parse.urlunsplit(("ssh", parts.netloc, "", query, ""))

    @property
    def builds_image(self) -> bool:
        """Whether they boot the one of ``make image``."""
        return self.image.name == BUILT_IMAGE

    def networks(self) -> dict[Place, str]:
        """The subnet, if it is named."""
        return {("hosts", "subnet"): self.subnet} if self.subnet else {}

    def facts(self) -> dict[str, Any]:
        """What results say of the guests beside processors and memory."""
        image = self.image.name or f"sha256:{self.image.sha256}"
        known = {"accelerator": self.accelerator, "diskGib": self.disk_gib, "image": image}
        # Latencies of the API then have the way to that machine in them.
        return {**known, "reachedThrough": urllib.parse.urlsplit(self.uri).hostname} if self.through else known
