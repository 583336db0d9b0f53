#!/usr/bin/env python3
"""``alike.py create``: whether hosts can be compared.

Standard input: ``{HOST: facts}``, as ``facts.py`` prints them. Environment: ``ALLOW_DIFFERENT``, true or false; ``OWN_NAMES``, true where
nodes have the hosts' names. Prints ``{"cpus",
"memoryMib", "swapMib", "alike", "differences", "cgroups"}`` for the results; without leave, hosts that differ are an error that names how.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

SAME = ("os", "kernel", "architecture", "cpuModel", "cpus", "cgroups", "systemd", "virtualization", "fileSystem")
NEARLY_SAME = {"memoryMib": 0.02, "diskMib": 0.05, "swapMib": 0.05}
"""Shares by which machines of one size may differ."""

Facts = Mapping[str, Any]


def twice(hosts: Mapping[str, Facts], key: str = "machineId") -> list[str]:
    """Names of hosts that have a fact in common, by default those that are one machine, or clones; empty when there are none."""
    ids = [str(facts[key]).lower() for facts in hosts.values()]
    return [name for name, facts in hosts.items() if ids.count(str(facts[key]).lower()) > 1]


def differences(hosts: Mapping[str, Facts]) -> list[str]:
    """In what hosts differ, one text a fact: ``cpus: host-1 2, host-3 4``."""
    found = []
    first = next(iter(hosts.values()))
    for key in (*SAME, *NEARLY_SAME):
        share = NEARLY_SAME.get(key, 0.0)
        if share:
            values = [facts[key] for facts in hosts.values()]
            differ = max(values) - min(values) > share * max(values)
        else:
            differ = any(facts[key] != first[key] for facts in hosts.values())
        if differ:
            found.append(
                f"{key}: "
                + ", ".join(f"{name} {'unknown' if facts[key] == '' else facts[key]}" for name, facts in hosts.items())
            )
    return found


def main(arguments: list[str]) -> int:
    """Run one subcommand; ``delete`` has nothing to undo."""
    if arguments == ["delete"]:
        return 0
    if arguments != ["create"]:
        print("usage: alike.py create|delete", file=sys.stderr)
        return 2
    hosts: dict[str, Facts] = json.load(sys.stdin)
    same = twice(hosts)
    if same:
        print(
            f"error: {' and '.join(same)} have one machine id, so they are one machine by several addresses, or clones: name each machine "
            "once in hosts.addresses, and give clones an id of their own (rm /etc/machine-id; systemd-machine-id-setup). Nothing was changed on them.",
            file=sys.stderr,
        )
        return 1
    same = twice(hosts, "hostname") if os.environ.get("OWN_NAMES") == "true" else []
    if same:
        print(
            f"error: {' and '.join(same)} are both called {hosts[same[0]]['hostname']}, and this distribution's nodes have the hosts' names: "
            "give each a name of its own (hostnamectl set-hostname NAME). Nothing was changed on them.",
            file=sys.stderr,
        )
        return 1
    found = differences(hosts)
    if found and os.environ["ALLOW_DIFFERENT"] != "true":
        print(
            f"error: the hosts are not alike, so what is measured on them can't be compared: {'; '.join(found)}. Take hosts that are, or set "
            "hosts.allowDifferent to true: results then carry the mark. Nothing was changed on them.",
            file=sys.stderr,
        )
        return 1
    print(
        json.dumps(
            {
                "cpus": min(facts["cpus"] for facts in hosts.values()),
                "memoryMib": min(facts["memoryMib"] for facts in hosts.values()),
                # Kubelets give pods none of it; what else runs there may be swapped, and figures are the disk's then.
                "swapMib": max(facts["swapMib"] for facts in hosts.values()),
                "cgroups": "/".join(sorted({facts["cgroups"] for facts in hosts.values()})),
                "alike": not found,
                "differences": found,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
