#!/usr/bin/env python3
"""``validate.py create|delete``: asks every host for its facts, all at once, and refuses what can't become a cluster.

Environment: HOSTS (``host-1=ADDRESS,host-2=ADDRESS``), PORTS (that must be free), MEMORY_MIB, DISK_MIB (at least). What another
distribution left on a living host is taken off first, by its own reset. Prints the facts, one JSON object a host.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import hostio

HERE = Path(__file__).resolve().parent
RUN = HERE.parent
PART = HERE.name.rpartition("-")[0]
ASK_S = 60.0
RESET_S = 300.0
CLOCK_S = 30.0
"""How far clocks may be apart: certificates made on one host must be valid on the next."""


@dataclass
class Facts:
    """One host's answers, and how far its clock is from this machine's (seconds, known to half the round trip)."""

    name: str
    address: str
    said: dict[str, str] = field(default_factory=dict)
    clock_offset_s: float = 0.0

    def listed(self, key: str) -> set[str]:
        """An answer that is a list."""
        return {part for part in self.said.get(key, "").split(",") if part}


class HostError(Exception):
    """A host can't be asked."""


def ask(facts: Facts) -> Facts:
    """Run ``facts.sh`` on the host.

    Raises:
        HostError: it does not answer.
    """
    began = time.time()
    done = asked(facts.name, "bash -s", ASK_S, (HERE / "facts.sh").read_text(encoding="utf-8"))
    middle = (began + time.time()) / 2
    facts.said = dict(line.split("=", 1) for line in done.splitlines() if "=" in line)
    facts.clock_offset_s = float(facts.said["clock"]) - middle
    return facts


def asked(host: str, command: str, limit_s: float, text: str = "") -> str:
    """A command's output on a host; root runs it.

    Raises:
        HostError: it failed, with its last words.
    """
    try:
        return hostio.ask(RUN, host, command, stdin=text, limit_s=limit_s)
    except hostio.AnswerError as error:
        msg = f"host {host}: could not be asked over ssh: {error}. 'make ssh STACK={RUN.name} HOST={host}' shows whether it is up"
        raise HostError(msg) from None


def clear_others(facts: Facts) -> None:
    """Take off what another distribution installed here: its ports and its network would be in the way."""
    for part in sorted(facts.listed("parts") - {PART}):
        script = f"/opt/litelab/{part}/scripts/reset.sh"
        asked(facts.name, f"[ ! -x {script} ] || {script} >&2; rm -rf /opt/litelab/{part}", RESET_S)


def problems(hosts: list[Facts], environment: dict[str, str]) -> list[str]:
    """Why these hosts can't become a cluster, each with its fix."""
    found = []
    for key, fix in (
        ("hostname", "set another with 'hostnamectl hostname'"),
        ("machine_id", "make another with 'rm /etc/machine-id; systemd-machine-id-setup'"),
    ):
        seen: dict[str, str] = {}
        for host in hosts:
            value = host.said[key]
            if value in seen:
                found.append(
                    f"hosts {seen[value]} and {host.name} have the same {key.replace('_', '-')} {value}: {fix} on one"
                )
            seen.setdefault(value, host.name)
    middle = sorted(h.clock_offset_s for h in hosts)[len(hosts) // 2]
    for host in hosts:
        said, off = host.said, host.clock_offset_s - middle
        if abs(off) > CLOCK_S:
            found.append(
                f"host {host.name}: its clock is {off:+.0f} s from the others', and {CLOCK_S:.0f} s is the limit: certificates would not be "
                "valid yet, or no longer. Let it follow a time server ('timedatectl set-ntp true')"
            )
        if said["user"] != "root":
            found.append(
                f"host {host.name}: steps run there as {said['user']}, and they need root. Let the host take the lab's key for root, or that user sudo"
            )
        if said["init"] != "systemd":
            found.append(
                f"host {host.name}: its first process is {said['init']}, and services need systemd. Use a system that boots it"
            )
        if said["architecture"] != hosts[0].said["architecture"]:
            found.append(
                f"host {host.name} is {said['architecture']} and {hosts[0].name} {hosts[0].said['architecture']}: hosts of a lab are alike"
            )
        if host.address not in host.listed("addresses"):
            found.append(
                f"host {host.name}: no interface has its address {host.address} (it has {said['addresses'].strip(',')}). Correct the address"
            )
        for limit, key, what in (
            ("MEMORY_MIB", "memory_mib", "memory"),
            ("DISK_MIB", "disk_free_mib", "free disk in /var/lib"),
        ):
            if int(said[key]) < int(environment[limit]):
                found.append(
                    f"host {host.name}: {said[key]} MiB of {what}, and {PART} takes {environment[limit]} at least. Give it more"
                )
        if PART not in host.listed("parts"):
            taken = sorted(set(environment["PORTS"].split(",")) & host.listed("listening"), key=int)
            if taken:
                found.append(
                    f"host {host.name}: something listens on port {', '.join(taken)} already, which {PART} needs. 'ss -tlnp' names it; stop it"
                )
    return found


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    if arguments == ["delete"]:
        return 0
    if arguments != ["create"]:
        print("usage: validate.py create|delete", file=sys.stderr)
        return 2
    hostio.restore(RUN)
    hosts = [Facts(*pair.partition("=")[::2]) for pair in os.environ["HOSTS"].split(",")]
    try:
        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(ask, hosts))
            if any(h.listed("parts") - {PART} for h in hosts):
                list(pool.map(clear_others, hosts))
                list(pool.map(ask, hosts))
    except HostError as error:
        print(f"error: {error}.", file=sys.stderr)
        return 1
    found = problems(hosts, dict(os.environ))
    if found:
        print(
            f"error: these hosts can't become a cluster: {'; '.join(found)}. Then run the same command again.",
            file=sys.stderr,
        )
        return 1
    shown = ("os", "kernel", "architecture", "virtualization", "cgroup")
    json.dump({h.name: {key: h.said[key] for key in shown} for h in hosts}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
