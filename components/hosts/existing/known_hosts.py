"""Addresses of hosts, and the lines of known_hosts that they are known by."""

from __future__ import annotations

import base64
import fnmatch
import ipaddress
from typing import NamedTuple

SSH_PORT = 22
AUTHORITY = "@cert-authority"
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


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


def require_known(address: Address, known: list[KnownKey]) -> None:
    """See that a host is known by one of these keys.

    Raises:
        ValueError: none is its own, with the command that shows it.
    """
    if any(key.is_of(address) for key in known):
        return
    port = "" if address.port == SSH_PORT else f" -p {address.port}"
    msg = (
        f"hostKeys has no line for {address}, and no host is trusted unseen: compare what "
        f"'ssh-keyscan -t ed25519{port} {address.host}' shows with the host's own /etc/ssh/ssh_host_ed25519_key.pub, "
        "and put that line there"
    )
    raise ValueError(msg)


def is_ipv4(host: str) -> bool:
    """Whether it is an address, and no name."""
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
