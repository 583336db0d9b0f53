"""The lab's /24: which networks this machine uses, which /24 is free, and which routing rules would capture the lab's traffic.

``subnet.py choose LAB_ID UPLINK TAKEN [SUBNET]``: prints the first three numbers of the lab's /24. TAKEN has those of other labs, with commas.
``subnet.py rule PREFIX``: prints the priority of the routing rule that the lab needs, or nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

CANDIDATES = ("10.87", "10.139", "172.29", "192.168")
"""First halves of the /24s that a lab chooses from."""
RULE_PRIORITY = 99
"""Of the lab's own routing rule: before those of VPNs, after the table of local addresses."""
MAIN = "main"
HALVES = (IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1"))
"""What VPNs set instead of a default route."""
EVERYTHING = IPv4Network("0.0.0.0/0")
NO_ROUTE = ("blackhole", "unreachable", "prohibit")
"""Rules with these actions end a look-up without a route."""
PLAIN_KEYS = {
    "priority", "not", "src", "srclen", "dst", "dstlen", "fwmark", "fwmask", "iif", "iif_detached", "oif", "oif_detached", "l3mdev",
    "table", "suppress_prefixlen", "goto", "nop", "action", "protocol", "unresolved",
}  # fmt: skip
"""What is understood of a rule; anything else (users, ports, realms) may match or not."""


class SubnetError(Exception):
    """One paragraph for the user."""


@dataclass(frozen=True)
class Route:
    """One IPv4 route."""

    network: IPv4Network
    table: str = MAIN
    kind: str = "unicast"
    device: str = ""
    via: str = ""

    @property
    def is_default(self) -> bool:
        """A default route, or one of the halves that stand for it."""
        return self.network == EVERYTHING or self.network in HALVES

    def __str__(self) -> str:
        """As ``ip route`` has it."""
        words = "" if self.kind == "unicast" else f"{self.kind} "
        words += f"route {self.network}" + (f" via {self.via}" if self.via else "")
        words += f" dev {self.device}" if self.device else ""
        return words + ("" if self.table == MAIN else f" in table {self.table}")


@dataclass(frozen=True)
class Rule:
    """One routing rule, with what ``ip -json rule`` says of it."""

    priority: int
    keys: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> str:
        """The table that it looks up, or nothing."""
        return str(self.keys.get("table", ""))


@dataclass(frozen=True)
class Network:
    """What this machine routes and whom it talks to.

    Attributes:
        routes: of all tables.
        rules: by priority.
        used: addresses that are in use, each with a phrase that says by what.
    """

    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    used: tuple[tuple[IPv4Address, str], ...] = ()


def network_of(text: object, length: object = None) -> IPv4Network | None:
    """A destination as ``ip`` prints it; None when it is no IPv4 network."""
    if text in ("default", "all", "any"):
        return EVERYTHING
    try:
        return IPv4Network(f"{text}/{length}" if length is not None else str(text), strict=False)
    except ValueError:
        return None


def parse(routes: object, rules: object, addresses: object, neighbours: object) -> Network:
    """What ``ip -4 -json`` prints of ``route show table all``, ``rule``, ``addr`` and ``neigh``; what it can't be is passed over."""
    found, used = [], []
    for entry in _dicts(routes):
        network = network_of(entry.get("dst"))
        if network is None:
            continue
        hops = [entry, *_dicts(entry.get("nexthops"))]
        via = next((str(hop["gateway"]) for hop in hops if "gateway" in hop), "")
        device = next((str(hop["dev"]) for hop in hops if "dev" in hop), "")
        found.append(Route(network, str(entry.get("table", MAIN)), str(entry.get("type", "unicast")), device, via))
        used += [
            (str(hop["gateway"]), f"the gateway of a route of {device or 'this machine'}")
            for hop in hops
            if "gateway" in hop
        ]
    for link in _dicts(addresses):
        name = str(link.get("ifname", ""))
        for info in _dicts(link.get("addr_info")):
            used.append((str(info.get("local")), f"this machine's own address on {name}"))
            if "address" in info:
                used.append((str(info["address"]), f"the other end of {name}"))
    used += [
        (str(entry.get("dst")), f"a neighbour on {entry.get('dev')}")
        for entry in _dicts(neighbours)
        if "FAILED" not in str(entry.get("state"))
    ]
    sorted_rules = sorted(
        (Rule(entry["priority"], entry) for entry in _dicts(rules) if isinstance(entry.get("priority"), int)),
        key=lambda rule: rule.priority,
    )
    return Network(tuple(found), tuple(sorted_rules), tuple(_addresses(used)))


def _dicts(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _addresses(used: Iterable[tuple[str, str]]) -> Iterable[tuple[IPv4Address, str]]:
    for text, by in used:
        try:
            yield IPv4Address(text), by
        except ValueError:
            continue


def nameservers(resolv_conf: str) -> list[tuple[IPv4Address, str]]:
    """Name servers of a resolv.conf."""
    words = (line.split() for line in resolv_conf.splitlines())
    return list(_addresses((w[1], "this machine's name server") for w in words if len(w) > 1 and w[0] == "nameserver"))


def peers(proc_net_tcp: str) -> list[tuple[IPv4Address, str]]:
    """Whom this machine has TCP connections with, from ``/proc/net/tcp``: the operator's own ssh session, for one."""
    found = []
    for line in proc_net_tcp.splitlines()[1:]:
        columns = line.split()
        # 01: established. Addresses are in the machine's byte order.
        if len(columns) > 3 and columns[3] == "01":
            # A table of another form has nothing for us.
            with contextlib.suppress(ValueError):
                number = bytes.fromhex(columns[2].partition(":")[0])
                peer = IPv4Address(number[::-1] if sys.byteorder == "little" else number)
                found.append((peer, "connected to this machine by TCP"))
    return found


def in_use(subnet: IPv4Network, network: Network, taken: Sequence[str] = (), own: str = "") -> str:
    """By what a /24 is in use, or nothing. An equal or narrower route, an address or another lab uses it; a wider route does not.

    Args:
        subnet: the /24.
        network: this machine's.
        taken: first three numbers of other labs' /24s.
        own: the link of the lab itself, which may be left of a create that was killed.
    """
    if (
        subnet.is_loopback
        or subnet.is_multicast
        or subnet.is_link_local
        or subnet.is_reserved
        or int(subnet[0]) < 2**24
    ):
        return "no network for hosts: loopback, multicast, link-local and reserved addresses are not routed"
    if any(subnet == IPv4Network(f"{prefix}.0/24") for prefix in taken):
        return "another lab on this machine"
    for route in network.routes:
        if route.network.subnet_of(subnet) and not (own and route.device == own):
            return str(route)
    for address, by in network.used:
        if address in subnet and not (own and by.endswith(f" {own}")):
            return f"{address}, {by}"
    return ""


def wider(subnet: IPv4Network, network: Network) -> Route | None:
    """The narrowest route that covers a /24 and more, if it is no default."""
    covering = [
        route
        for route in network.routes
        if route.network != subnet
        and subnet.subnet_of(route.network)
        and not route.is_default
        and route.kind != "throw"
    ]
    return max(covering, key=lambda route: route.network.prefixlen, default=None)


def free(lab_id: str, network: Network, taken: Sequence[str], own: str = "") -> IPv4Network | None:
    """A /24 that nothing uses, outside of every route but the default where there is one. The same lab begins its search at the same one."""
    start = hashlib.sha256(lab_id.encode()).digest()[0]
    possible = [IPv4Network(f"{half}.{third % 256}.0/24") for half in CANDIDATES for third in range(start, start + 256)]
    unused = [subnet for subnet in possible if not in_use(subnet, network, taken, own)]
    return next((subnet for subnet in unused if wider(subnet, network) is None), unused[0] if unused else None)


def choose(
    lab_id: str, network: Network, taken: Sequence[str], own: str = "", named: str = ""
) -> tuple[IPv4Network, str]:
    """The lab's /24, and what a person should know of it, or nothing.

    Raises:
        SubnetError: the named one, or every one, is in use.
    """
    if named:
        subnet = IPv4Network(named)
        by = in_use(subnet, network, taken, own)
        if by:
            other = free(lab_id, network, taken, own)
            fix = (
                f"{other} is free: name that one, or leave hosts.subnet out, and the lab chooses one"
                if other
                else f"Name another /24 that is free; the lab itself would choose from {_pool()}, and all of those are in use too"
            )
            msg = f"hosts.subnet: {subnet} is in use on this machine by {by}. {fix}."
            raise SubnetError(msg)
    else:
        found = free(lab_id, network, taken, own)
        if found is None:
            msg = (
                f"no /24 in {_pool()} is free: this machine has an address, a neighbour or a route of its own in each. Name another /24 "
                "that nobody uses as hosts.subnet in the lab's file in stacks/, such as one of 198.18.0.0/15."
            )
            raise SubnetError(msg)
        subnet = found
    route = wider(subnet, network)
    note = (
        f"the lab's subnet {subnet} is inside the {route}: while the lab is up, these 256 addresses are the lab's"
        if route
        else ""
    )
    return subnet, note


def _pool() -> str:
    return ", ".join(f"{half}.0.0/16" for half in CANDIDATES)


def captor(subnet: IPv4Network, network: Network) -> Rule | None:
    """The first routing rule that would send this machine's packets for the lab elsewhere than the main table does, where the lab's route is."""
    for rule in network.rules:
        if not _may_match(rule, subnet) or "nop" in rule.keys or "goto" in rule.keys:
            continue
        if rule.keys.get("action") in NO_ROUTE:
            return rule
        suppressed = rule.keys.get("suppress_prefixlen")
        shortest = suppressed if isinstance(suppressed, int) else -1
        if rule.table == MAIN:
            # The lab's own route is a /25.
            if shortest < 25 and _surely_matches(rule, subnet):
                return None
            continue
        if rule.table == "local":
            continue
        best = max(
            (r for r in network.routes if r.table == rule.table and r.network.overlaps(subnet)),
            key=lambda r: r.network.prefixlen,
            default=None,
        )
        if best and best.kind != "throw" and best.network.prefixlen > shortest:
            return rule
    return None


def _may_match(rule: Rule, subnet: IPv4Network) -> bool:
    """Whether a rule may be for packets that this machine sends to the lab: without a mark, from any address or the lab's own."""
    keys = rule.keys
    if "l3mdev" in keys or keys.get("iif", "lo") != "lo" or "oif" in keys:
        return False
    matches = True
    source = network_of(keys.get("src", "all"), keys.get("srclen"))
    target = network_of(keys.get("dst", "all"), keys.get("dstlen"))
    for network in (source, target):
        matches &= network is None or network.overlaps(subnet)
    try:
        mark, mask = (
            int(str(keys.get(key, default)), 0) for key, default in (("fwmark", "0"), ("fwmask", "0xffffffff"))
        )
    except ValueError:
        mark, mask = 0, 0
    matches &= mark & mask == 0
    if "not" in keys:
        covers = source == EVERYTHING and target is not None and subnet.subnet_of(target)
        return not (matches and covers and set(keys) <= PLAIN_KEYS)
    return matches


def _surely_matches(rule: Rule, subnet: IPv4Network) -> bool:
    """Whether a rule is for every packet to the lab."""
    source, target = (network_of(rule.keys.get(key, "all"), rule.keys.get(f"{key}len")) for key in ("src", "dst"))
    plain = set(rule.keys) <= PLAIN_KEYS - {"not", "fwmark", "fwmask", "iif", "oif", "l3mdev"}
    return plain and source == EVERYTHING and target is not None and subnet.subnet_of(target)


def rule_priority(subnet: IPv4Network, network: Network) -> int | None:
    """The priority of the routing rule that the lab needs, or None when it needs none.

    Raises:
        SubnetError: a rule is before all that could be made.
    """
    by = captor(subnet, network)
    if by is None:
        return None
    if by.priority < 1:
        msg = (
            f"a routing rule with priority 0 sends what is for {subnet} elsewhere ('ip rule' shows it), and no rule of the lab's can go before "
            "it. Give that rule a higher number: 'ip rule add' it with 'pref 100' and 'ip rule del' the old one, or end the VPN that made it."
        )
        raise SubnetError(msg)
    return min(by.priority - 1, RULE_PRIORITY)


def this_machine() -> Network:
    """Look at this machine.

    Raises:
        SubnetError: ``ip`` does not say.
    """
    answers = [_ip(*words) for words in (("route", "show", "table", "all"), ("rule",), ("addr",), ("neigh",))]
    found = parse(*answers)
    more = [*nameservers(_text("/etc/resolv.conf")), *peers(_text("/proc/net/tcp"))]
    return Network(found.routes, found.rules, (*found.used, *more))


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _ip(*words: str) -> object:
    command = ["ip", "-4", "-json", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"'{' '.join(command)}' does not run: {error}. 'apt-get install iproute2' brings it."
        raise SubnetError(msg) from None
    if done.returncode != 0:
        # A kernel without policy routing has no rules, and says so.
        if words == ("rule",):
            return []
        msg = f"'{' '.join(command)}' failed: {' '.join(done.stderr.split())}. The lab's subnet can't be chosen without it."
        raise SubnetError(msg)
    try:
        answer: object = json.loads(done.stdout or "[]")
    except ValueError:
        msg = f"'{' '.join(command)}' printed no JSON: {done.stdout[:80]!r}. iproute2 4.18 or newer does."
        raise SubnetError(msg) from None
    return answer


def other_labs(registry: Path = Path("/run/litelab/labs")) -> list[str]:
    """First three numbers of the /24 of each lab on this machine."""
    return [
        text
        for text in (_text(str(path)).strip() for path in sorted(registry.glob("*/prefix")))
        if network_of(f"{text}.0/24")
    ]


def main(arguments: Sequence[str]) -> int:
    """Run one verb; 1 and one paragraph when it fails."""
    try:
        match arguments:
            case ["choose", lab_id, uplink, taken, *named]:
                subnet, note = choose(
                    lab_id, this_machine(), [t for t in taken.split(",") if t], uplink, "".join(named)
                )
                if note:
                    print(f"note: {note}.", file=sys.stderr)
                print(str(subnet[0]).rpartition(".")[0])
            case ["rule", prefix]:
                priority = rule_priority(IPv4Network(f"{prefix}.0/24"), this_machine())
                print("" if priority is None else priority)
            case _:
                print("usage: subnet.py choose LAB_ID UPLINK TAKEN [SUBNET] | rule PREFIX", file=sys.stderr)
                return 2
    except SubnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
