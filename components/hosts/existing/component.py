"""Hosts that are there already, reached by ssh: bare metal, machines of any cloud, or of another lab.

They live on after the lab. So what they are is asked first, nothing on them is changed but by the lab's own steps, and those steps
undo it in the end; the inventories of before and after show that.
"""

from __future__ import annotations

import base64
import dataclasses
import fnmatch
import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import pulumi
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from components.checks.machine import Machine
from components.config import discovery
from components.config.settings import HostSettings, LabSettings, SettingsError, reserved
from components.forwarding import component as forwarding
from components.hosts.host import Host, HostKind, Ssh
from components.steps.scripts import publish
from components.steps.steps import local_step
from inputs.places import Place

SSH_PORT = 22
AUTHORITY = "@cert-authority"
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


Login = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}$", examples=["ubuntu"])]
"""Who logs in, as the host knows the name: also ``first.last``, or ``user@corp.example`` of a directory."""


class Address(NamedTuple):
    """Where ssh reaches a host."""

    host: str
    port: int

    def __str__(self) -> str:
        """As settings have it, the port always there."""
        return f"{self.host}:{self.port}"


class KnownKey(NamedTuple):
    """A line of known_hosts: whose key it is, and whether it is an authority's."""

    authority: bool
    names: tuple[str, ...]
    key: str

    def is_of(self, address: Address) -> bool:
        """Whether ssh would take it for the host's, or for one that vouches for the host."""
        called = [
            f"[{address.host}]:{address.port}",
            *([address.host] if self.authority or address.port == SSH_PORT else []),
        ]
        if self.authority:
            return any(
                fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")) for name in called for pattern in self.names
            )
        return any(name in self.names for name in called)


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
        _require_known(self.at, [parse_known_key(line) for line in self.host_keys])
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
            if _is_ipv4(address) and (why := reserved(ipaddress.IPv4Network(address))):
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
        return {("hosts", "addresses", n): f"{host}/32" for n, host in enumerate(hosts) if _is_ipv4(host)}

    @model_validator(mode="after")
    def _every_host_is_known(self) -> ExistingSettings:
        known = [parse_known_key(line) for line in self.host_keys]
        for host in self.addresses:
            _require_known(host.at, known)
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


def _require_known(address: Address, known: list[KnownKey]) -> None:
    if any(key.is_of(address) for key in known):
        return
    port = "" if address.port == SSH_PORT else f" -p {address.port}"
    msg = (
        f"hostKeys has no line for {address}, and no host is trusted unseen: compare what "
        f"'ssh-keyscan -t ed25519{port} {address.host}' shows with the host's own /etc/ssh/ssh_host_ed25519_key.pub, "
        "and put that line there"
    )
    raise ValueError(msg)


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def parse_address(text: str) -> Address:
    """``host`` or ``host:port``."""
    host, _, port = text.partition(":")
    return Address(host, int(port or SSH_PORT))


def parse_known_key(line: str) -> KnownKey:
    """One line of known_hosts.

    Raises:
        ValueError: it is none, or one that can't be used here, with the reason.
    """
    words = line.split()
    authority = words[:1] == [AUTHORITY]
    if authority:
        words = words[1:]
    if line.startswith("|1|"):
        msg = "has a hashed line, which names nobody: take the plain one that ssh-keyscan prints"
        raise ValueError(msg)
    if line.isprintable() and len(words) > 2 and words[1] in KEY_TYPES and not _is_key(*words[1:3]):
        msg = f"takes whole lines of known_hosts, such as 'ssh-keyscan -t {words[1].removeprefix('ssh-')} HOST' prints, and not one whose key is cut off or changed: {line[:60]!r}"
        raise ValueError(msg)
    if (
        not line.isprintable()
        or len(words) < 3
        or words[0].startswith("@")
        or words[1] not in KEY_TYPES
        or not _is_key(*words[1:3])
    ):
        msg = f"takes lines of known_hosts such as '10.0.0.1 ssh-ed25519 AAAA...' or '{AUTHORITY} *.lab ssh-ed25519 AAAA...', and not {line[:60]!r}"
        raise ValueError(msg)
    return KnownKey(authority, tuple(words[0].split(",")), f"{words[1]} {words[2]}")


def _is_key(kind: str, text: str) -> bool:
    """Whether it is a public key of that type: it says so itself, behind a length of four bytes."""
    try:
        return base64.b64decode(text, validate=True)[4:].startswith(kind.encode())
    except ValueError:
        return False


def estimate(lab: LabSettings, machine: Machine) -> str:  # noqa: ARG001 - the hosts are elsewhere
    """One line: whose hosts the lab will use."""
    hosts = _of(lab)
    return f"{len(hosts.addresses)} hosts that exist ({', '.join(h.address for h in hosts.addresses)}), {_logins(hosts)}; this machine only drives them"


def problems(lab: LabSettings, machine: Machine, is_new: bool) -> list[str]:  # noqa: ARG001 - nothing of the machine's is taken
    """Why the lab can't be driven from here, each with its cure."""
    hosts = _of(lab)
    found = [_too_few_or_many(hosts, lab.controllers, lab.workers), _agent_problem() if hosts.agent else ""]
    found += [_key_problem(setting, Path(key).expanduser(), hosts.agent) for setting, key in hosts.named_keys()]
    return [text for text in found if text]


def _logins(hosts: ExistingSettings) -> str:
    users = dict.fromkeys(host.user or hosts.user for host in hosts.addresses)
    through = f", through {hosts.bastion.at}" if hosts.bastion else ""
    return f"as {' and '.join(users)}{through}"


def _agent_problem() -> str:
    """Why the operator's agent could not be asked for a key."""
    if not os.environ.get("SSH_AUTH_SOCK"):
        return (
            "hosts.agent is true, and SSH_AUTH_SOCK is not set, so there is no agent here: start one and give it the key (ssh-add), or name the "
            "key as hosts.key. sudo drops the variable: 'sudo --preserve-env=SSH_AUTH_SOCK make lab'; hosts of this kind need no root"
        )
    tried = subprocess.run(["ssh-add", "-l"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if tried.returncode == 0:
        return ""
    said = " ".join((tried.stdout + tried.stderr).split()) or "it does not answer"
    return f"hosts.agent is true, and the agent at SSH_AUTH_SOCK has no key for the lab ({said}): give it the key (ssh-add FILE)"


def _of(lab: LabSettings) -> ExistingSettings:
    assert isinstance(lab.hosts, ExistingSettings)
    return lab.hosts


def _too_few_or_many(args: ExistingSettings, controllers: int, workers: int) -> str:
    have, needed = len(args.addresses), controllers + workers
    if have == needed:
        return ""
    cure = f", or set workers to {have - controllers}" if have >= controllers else ""
    return f"hosts.addresses names {have}, and controllers ({controllers}) and workers ({workers}) are {needed}: correct it{cure}"


def _key_problem(setting: str, path: Path, agent: bool) -> str:
    """Why ssh could not use the key by itself."""
    try:
        mode = path.stat().st_mode
        path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        return f"{setting}: {path} can't be read ({why}): name the private key that the hosts know"
    if agent and path.suffix == ".pub":
        # ssh asks the agent for this one.
        return ""
    if mode & 0o077:
        return f"{setting}: others may read {path} (its mode is {mode & 0o777:o}), so ssh will not use it: chmod 600 {path}"
    tried = subprocess.run(
        ["ssh-keygen", "-y", "-P", "", "-f", str(path)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if tried.returncode == 0:
        return ""
    if "passphrase" in tried.stderr and agent:
        return ""
    if "passphrase" in tried.stderr:
        return f"{setting}: {path} has a passphrase, which nobody is there to type: give it to your agent and set hosts.agent: true, or give the lab a key of its own (ssh-keygen -t ed25519 -N '' -f FILE)"
    return (
        f"{setting}: {path} is no private key ({' '.join(tried.stderr.split())[-100:]}): name one that ssh-keygen made"
    )


class ExistingHosts(pulumi.ComponentResource):
    """Hosts that live on.

    Attributes:
        hosts: controllers first; each is in this lab's use once its resource is made.
        facts: sizes as they are, and whether the hosts are alike.
    """

    hosts: list[Host]
    facts: pulumi.Output[dict[str, Any]]

    def __init__(
        self,
        name: str,
        args: ExistingSettings,
        roles: list[str],
        use: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        wrong = _too_few_or_many(args, roles.count("controller"), roles.count("worker"))
        if wrong:
            msg = f"{wrong}. Nothing was made."
            raise SettingsError(msg)
        super().__init__("litelab:hosts:ExistingHosts", name, None, opts)
        scripts = publish("existing", pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run(), also=("ssh",))
        inside = pulumi.ResourceOptions(parent=self)
        known = {line: parse_known_key(line) for line in args.host_keys}

        found: dict[str, pulumi.Output[Mapping[str, Any]]] = {}
        if args.bastion and not pulumi.runtime.is_dry_run():
            # What measures dials the port that the state has.
            forwarding.reopen(pulumi.get_stack())
        for number, given in enumerate(args.addresses, start=1):
            host, address = f"host-{number}", given.at
            # Its own lines alone: with those of all hosts, a state would grow with the square of their number.
            own = [line for line, key in known.items() if key.is_of(address)]
            asked = local_step(
                f"facts-{host}",
                scripts,
                "facts.py",
                arguments=[host],
                environment={
                    "ADDRESS": str(address),
                    "LOGIN": given.user or args.user,
                    # From ~, it is of no machine.
                    "KEY": given.key or args.key or "",
                    **_more(args),
                    "CPUS": str(args.cpus),
                    "MEMORY_MIB": str(args.memory_mib),
                    "USE": json.dumps(use_of(use, internet=args.internet)),
                },
                stdin="\n".join([*own, *(["---", *args.bastion.host_keys] if args.bastion else [])]),
                # What is on the host at another address stays there, and what was on this one goes first.
                triggers=[str(address)],
                opts=inside,
            )
            found[host] = asked.stdout.apply(json.loads)

        alike = local_step(
            "alike",
            scripts,
            "alike.py",
            environment={
                "ALLOW_DIFFERENT": str(args.allow_different).lower(),
                **({"OWN_NAMES": "true"} if use_of(use, internet=args.internet).get("own_names") else {}),
            },
            stdin=pulumi.Output.json_dumps(found),
            opts=inside,
        )
        self.facts = alike.stdout.apply(json.loads)
        self.hosts = []
        for (host, facts), role, given in zip(found.items(), roles, args.addresses, strict=True):
            made = local_step(
                host,
                scripts,
                "host.sh",
                arguments=[host],
                # Given back before it is taken for another use, and what was installed for the old one goes first.
                triggers=[use, facts.apply(_machine)],
                opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[alike])),
            )
            self.hosts.append(
                Host(
                    name=host,
                    role=role,
                    address=facts.apply(lambda known: str(known["address"])),
                    ssh=Ssh(
                        user=given.user or args.user,
                        port=given.at.port,
                        # From a host of the lab all API servers are reached.
                        through="lab://host-1" if args.bastion else "",
                    ),
                    identity=made.stdout,
                    made=made,
                    lives_on=True,
                )
            )
        self.register_outputs({"facts": self.facts})


def _more(args: ExistingSettings) -> dict[str, str]:
    """Settings of an agent and a bastion, for labs that have them."""
    told = {"AGENT": "yes"} if args.agent else {}
    if args.bastion:
        jump = {"ADDRESS": str(args.bastion.at), "LOGIN": args.bastion.user or "root"}
        told |= {f"JUMP_{key}": value for key, value in {**jump, "KEY": args.bastion.key or args.key or ""}.items()}
    return told


def use_of(distribution: str, *, internet: bool) -> dict[str, Any]:
    """What hosts are for, so that they can be refused by it."""
    needs = discovery.distribution(distribution).needs if distribution in discovery.distributions() else None
    return {"distribution": distribution, "internet": internet, **(dataclasses.asdict(needs) if needs else {})}


def _machine(facts: Mapping[str, Any]) -> str:
    return f"{facts['address']} {facts['machineId']}"


KIND = HostKind(ExistingSettings, ExistingHosts, estimate, problems)
