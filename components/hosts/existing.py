"""Hosts that are there already, reached by ssh: bare metal, machines of any cloud, or of another lab.

They live on after the lab. So what they are is asked first, nothing on them is changed but by the lab's own steps, and those steps
undo it in the end; the inventories of before and after show that.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pulumi
from pydantic import Field, field_validator, model_validator

from components.contract import Host, HostKind, Ssh
from components.machine import Machine
from components.settings import HostSettings, LabSettings, SettingsError
from components.steps import local_step, publish

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


class ExistingSettings(HostSettings):
    """Hosts that the lab is given."""

    kind: Literal["existing"] = Field("existing", description="What the hosts are made of")
    addresses: tuple[str, ...] = Field(
        description="The hosts, controllers first: IPv4 address or name, and :port unless it is 22"
    )
    user: Login = Field("root", description="Who logs in: root, or a user who may use sudo without a password")
    key: str = Field(description="Path of the private key on this machine, from / or ~")
    host_keys: tuple[str, ...] = Field(
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
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            msg = "names no host; the first is the controller"
            raise ValueError(msg)
        for text in value:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?", text):
                msg = f"takes an IPv4 address or a name, with :port unless it is {SSH_PORT}, and not {text!r}"
                raise ValueError(msg)
            if not 0 < parse_address(text).port < 65536:
                msg = f"{text!r} has no port from 1 to 65535"
                raise ValueError(msg)
        same = [str(address) for address in map(parse_address, value)]
        twice = sorted({address for address in same if same.count(address) > 1})
        if twice:
            msg = f"{' and '.join(twice)} is there twice, and a host has one place in a lab"
            raise ValueError(msg)
        return value

    @field_validator("key")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        if not re.fullmatch(r"(~/|/)[A-Za-z0-9_.@+/-]+", value):
            msg = "is the path of a private key, from / or ~/, of letters, digits and _ . @ + - /"
            raise ValueError(msg)
        return value

    @field_validator("host_keys")
    @classmethod
    def _are_known_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for line in value:
            parse_known_key(line)
        return value

    @model_validator(mode="after")
    def _every_host_is_known(self) -> ExistingSettings:
        known = [parse_known_key(line) for line in self.host_keys]
        for address in map(parse_address, self.addresses):
            if not any(key.is_of(address) for key in known):
                port = "" if address.port == SSH_PORT else f" -p {address.port}"
                msg = (
                    f"hostKeys has no line for {address}, and no host is trusted unseen: compare what "
                    f"'ssh-keyscan -t ed25519{port} {address.host}' shows with the host's own /etc/ssh/ssh_host_ed25519_key.pub, "
                    "and put that line there"
                )
                raise ValueError(msg)
        return self


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
    except binascii.Error:
        return False


def estimate(lab: LabSettings, machine: Machine) -> str:  # noqa: ARG001 - the hosts are elsewhere
    """One line: whose hosts the lab will use."""
    hosts = _of(lab)
    return f"{len(hosts.addresses)} hosts that exist ({', '.join(hosts.addresses)}), as {hosts.user}; this machine only drives them"


def problems(lab: LabSettings, machine: Machine, is_new: bool) -> list[str]:  # noqa: ARG001 - nothing of the machine's is taken
    """Why the lab can't be driven from here, each with its cure."""
    hosts = _of(lab)
    return [
        text
        for text in (_too_few_or_many(hosts, lab.controllers, lab.workers), _key_problem(Path(hosts.key).expanduser()))
        if text
    ]


def _of(lab: LabSettings) -> ExistingSettings:
    assert isinstance(lab.hosts, ExistingSettings)
    return lab.hosts


def _too_few_or_many(args: ExistingSettings, controllers: int, workers: int) -> str:
    have, needed = len(args.addresses), controllers + workers
    if have == needed:
        return ""
    cure = f", or set workers to {have - controllers}" if have >= controllers else ""
    return f"hosts.addresses names {have}, and controllers ({controllers}) and workers ({workers}) are {needed}: correct it{cure}"


def _key_problem(path: Path) -> str:
    """Why ssh could not use the key by itself."""
    try:
        mode = path.stat().st_mode
        path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        return f"hosts.key: {path} can't be read ({why}): name the private key that the hosts know"
    if mode & 0o077:
        return f"hosts.key: others may read {path} (its mode is {mode & 0o777:o}), so ssh will not use it: chmod 600 {path}"
    tried = subprocess.run(
        ["ssh-keygen", "-y", "-P", "", "-f", str(path)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if tried.returncode == 0:
        return ""
    if "passphrase" in tried.stderr:
        return f"hosts.key: {path} has a passphrase, which nobody is there to type: give the lab a key of its own (ssh-keygen -t ed25519 -N '' -f FILE)"
    return (
        f"hosts.key: {path} is no private key ({' '.join(tried.stderr.split())[-100:]}): name one that ssh-keygen made"
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
        for number, text in enumerate(args.addresses, start=1):
            host, address = f"host-{number}", parse_address(text)
            # Its own lines alone: with those of all hosts, a state would grow with the square of their number.
            own = [line for line, key in known.items() if key.is_of(address)]
            asked = local_step(
                f"facts-{host}",
                scripts,
                "facts.py",
                arguments=[host],
                environment={
                    "ADDRESS": str(address),
                    "LOGIN": args.user,
                    # From ~, it is of no machine.
                    "KEY": args.key,
                    "CPUS": str(args.cpus),
                    "MEMORY_MIB": str(args.memory_mib),
                },
                stdin="\n".join(own),
                # What is on the host at another address stays there, and what was on this one goes first.
                triggers=[str(address)],
                opts=inside,
            )
            found[host] = asked.stdout.apply(json.loads)

        alike = local_step(
            "alike",
            scripts,
            "alike.py",
            environment={"ALLOW_DIFFERENT": str(args.allow_different).lower()},
            stdin=pulumi.Output.json_dumps(found),
            opts=inside,
        )
        self.facts = alike.stdout.apply(json.loads)
        self.hosts = []
        for (host, facts), role, text in zip(found.items(), roles, args.addresses, strict=True):
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
                    ssh=Ssh(user=args.user, port=parse_address(text).port),
                    identity=made.stdout,
                    made=made,
                    lives_on=True,
                )
            )
        self.register_outputs({"facts": self.facts})


def _machine(facts: Mapping[str, Any]) -> str:
    return f"{facts['address']} {facts['machineId']}"


KIND = HostKind(ExistingSettings, ExistingHosts, estimate, problems)
