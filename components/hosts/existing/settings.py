"""What a lab file says of hosts that are there already."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from components.config.settings import HostSettings, reserved
from components.hosts.existing.known_hosts import (
    SSH_PORT,
    Address,
    is_ipv4,
    parse_address,
    parse_known_key,
    require_known,
)
from inputs.places import Place

Login = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}$", examples=["ubuntu"])]
"""Who logs in, as the host knows the name: also ``first.last``, or ``user@corp.example`` of a directory."""


def _address(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?", text):
        msg = f"takes an IPv4 address or a name, with :port unless it is {SSH_PORT}, and not {text!r}"
        raise ValueError(msg)
    if not 0 < parse_address(text).port < 65536:
        msg = f"{text!r} has no port from 1 to 65535"
        raise ValueError(msg)
    return text


def _key_path(value: str) -> str:
    if not re.fullmatch(r"(~/|/)[A-Za-z0-9_.@+/-]+", value):
        msg = "is the path of a private key, from / or ~/, of letters, digits and _ . @ + - /"
        raise ValueError(msg)
    return value


def _known_lines(value: tuple[str, ...]) -> tuple[str, ...]:
    for line in value:
        parse_known_key(line)
    return value


AddressText = Annotated[str, AfterValidator(_address)]
KeyPath = Annotated[str, AfterValidator(_key_path)]
KnownLines = Annotated[tuple[str, ...], AfterValidator(_known_lines)]


class _Reached(BaseModel):
    """A machine that ssh reaches."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    address: AddressText = Field(description="IPv4 address or name, and :port unless it is 22")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(None, description="The same port by itself")
    user: Login | None = Field(None, description="Who logs in")
    key: KeyPath | None = Field(None, description="Path of the private key")

    @property
    def at(self) -> Address:
        """Where ssh connects to."""
        found = parse_address(self.address)
        return found if self.port is None else Address(found.host, self.port)

    @model_validator(mode="after")
    def _has_one_port(self) -> Self:
        if self.port is not None and ":" in self.address:
            msg = f"has a port in address ({self.address}) and as port ({self.port}): keep one"
            raise ValueError(msg)
        return self


class ExistingHost(_Reached):
    """A host, with what is not as for the others."""


class Bastion(_Reached):
    """The machine through which hosts are reached."""

    host_keys: KnownLines = Field(description="Lines of known_hosts for the bastion")

    @model_validator(mode="after")
    def _is_known(self) -> Bastion:
        require_known(self.at, [parse_known_key(line) for line in self.host_keys])
        return self


def _as_mapping(value: Any) -> Any:
    # Pulumi's configuration makes a number of what looks like one.
    return {"address": str(value)} if isinstance(value, str | int) else value


class ExistingSettings(HostSettings):
    """Hosts that the lab is given."""

    kind: Literal["existing"] = Field("existing", description="What the hosts are made of")
    addresses: tuple[Annotated[ExistingHost, BeforeValidator(_as_mapping)], ...] = Field(
        description="The hosts, controllers first: each an address alone, or a mapping where port, user or key are its own"
    )
    user: Login = Field("root", description="Who logs in: root, or a user who may use sudo without a password")
    key: KeyPath | None = Field(
        None, description="Path of the private key on this machine, from / or ~; with agent, its public half will do"
    )
    agent: bool = Field(False, description="Use the keys of the agent at SSH_AUTH_SOCK; with key, that one alone")
    bastion: Bastion | None = Field(
        None, description="The machine through which alone the hosts are reached (a jump host)"
    )
    host_keys: KnownLines = Field(
        description="Lines of known_hosts: a key of each host, or @cert-authority lines that cover them"
    )
    allow_different: bool = Field(False, description="Take hosts that are not alike; results are marked")
    cpus: Annotated[int, Field(ge=1, le=256)] = Field(1, description="Processors that each host must have at least")
    memory_mib: Annotated[int, Field(ge=1024, le=1048576)] = Field(
        1024,
        description="Memory that each host must have at least, MiB; the kernel's own part of a tenth may be missing",
    )
    internet: bool = Field(False, description="Let cluster DNS ask the hosts' resolvers; their way out stays as it is")

    @field_validator("addresses")
    @classmethod
    def _are_hosts(cls, value: tuple[ExistingHost, ...]) -> tuple[ExistingHost, ...]:
        if not value:
            msg = "names no host; the first is the controller"
            raise ValueError(msg)
        for address in (host.at.host for host in value):
            if is_ipv4(address) and (why := reserved(ipaddress.IPv4Network(address))):
                msg = f"{address} is no address by which hosts reach each other: {why}"
                raise ValueError(msg)
        same = [str(host.at) for host in value]
        twice = sorted({address for address in same if same.count(address) > 1})
        if twice:
            msg = f"{' and '.join(twice)} is there twice, and a host has one place in a lab"
            raise ValueError(msg)
        return value

    def networks(self) -> dict[Place, str]:
        """Addresses that are no names; what a name stands for is known once the hosts are asked."""
        hosts = [host.at.host for host in self.addresses]
        return {("hosts", "addresses", n): f"{host}/32" for n, host in enumerate(hosts) if is_ipv4(host)}

    @model_validator(mode="after")
    def _every_host_is_known(self) -> ExistingSettings:
        known = [parse_known_key(line) for line in self.host_keys]
        for host in self.addresses:
            require_known(host.at, known)
        return self

    @model_validator(mode="after")
    def _somebody_can_log_in(self) -> ExistingSettings:
        if self.key is None and not self.agent:
            without = [str(host.at) for host in self.addresses if host.key is None]
            if self.bastion is not None and self.bastion.key is None:
                without.append(f"the bastion {self.bastion.at}")
            if without:
                msg = f"key is missing, and nothing else says how to log in to {', '.join(without)}: name a private key, or set agent: true"
                raise ValueError(msg)
        return self

    def named_keys(self) -> list[tuple[str, str]]:
        """Every key file that is named, with the setting that names it."""
        named = [("hosts.key", self.key), *((f"hosts.addresses.{n}.key", h.key) for n, h in enumerate(self.addresses))]
        named.append(("hosts.bastion.key", self.bastion.key if self.bastion else None))
        return [(setting, path) for setting, path in named if path is not None]
