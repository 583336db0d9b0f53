"""``make status``: hosts, units of the distribution and nodes as they are now; exit code 1 when anything of the lab is not as it should be."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.lab import hostio, stacks
from tools.lab.presence import Presence, Seen, patience, resources
from tools.places import PROJECT

HOST_S = 20

# Not uptime, which is the machine's where a host is a container. Each line is marked: a login may say more.
_ASK = """p() { echo "litelab-status $*"; }
p up "$(awk '{ print int($1) }' /proc/uptime)" "$(cut -d' ' -f22 /proc/1/stat)" "$(getconf CLK_TCK)"
p system "$(systemctl is-system-running)"
for unit in UNITS; do
  p unit "$unit" $(systemctl show -p LoadState --value "$unit") $(systemctl show -p ActiveState --value "$unit") $(systemctl show -p NRestarts --value "$unit")
done
systemctl list-units --failed --no-legend --plain | while read -r name _; do p failed "$name"; done
"""


def guide(cache: Path, stack: str) -> dict[str, Any]:
    """Where to look on the lab's hosts (``components/checks/guide.py``); nothing when its settings can't be read."""
    python = str(cache / "venv/bin/python3")
    try:
        done = subprocess.run(
            [python, "-m", "components.checks.guide", stack],
            cwd=PROJECT, env=stacks.environment(cache), capture_output=True, text=True, check=False, timeout=60 * patience(PROJECT / ".lab" / "run" / stack),
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError, TypeError):
        return {}
    return found


@dataclass(frozen=True)
class Host:
    """What a host says of itself.

    Attributes:
        text: how long it has been up, and systemd's word for it; or why it said nothing.
        troubles: units of the distribution that do not run, each as a sentence part.
    """

    text: str
    troubles: tuple[tuple[str, str], ...] = ()


def read_host(said: str, units: Sequence[str]) -> Host | None:
    """What the marked lines of a host's answer mean; None without them."""
    lines = [line.split()[1:] for line in said.splitlines() if line.startswith("litelab-status ")]
    by = {words[0]: words[1:] for words in lines if words and words[0] in {"up", "system"}}
    if len(by.get("up", [])) != 3 or not all(re.fullmatch(r"[0-9]{1,15}", word) for word in by["up"]):
        return None
    machine_s, started, ticks = map(int, by["up"])
    failed = [words[1] for words in lines if len(words) > 1 and words[0] == "failed"]
    text = f"up {told(machine_s - started // max(ticks, 1))}, {' '.join(by.get('system', ['unknown']))}"
    if failed:
        text += f" (failed: {', '.join(failed)})"
    troubles = []
    for words in lines:
        match words:
            case ["unit", unit, loaded, active, *more]:
                # A unit that only some versions have.
                if loaded == "not-found" and unit != units[0]:
                    continue
                restarts = int(more[0]) if more and more[0].isdigit() else 0
                if loaded == "not-found":
                    troubles.append((unit, "is not installed"))
                elif active in {"inactive", "failed", "deactivating"}:
                    troubles.append((unit, f"is {active}"))
                elif active == "activating":
                    troubles.append((unit, f"is starting, after {restarts} restarts" if restarts else "is starting"))
    return Host(text, tuple(troubles))


def ask(run: Path, host: str, units: Sequence[str]) -> Host:
    """What a host says of itself within ``HOST_S``, on a slow machine longer."""
    slow = patience(run)
    command = [*hostio.ask(run, host), "bash -s"]
    try:
        seen = subprocess.run(
            command, input=_ASK.replace("UNITS", " ".join(units) or "''"), capture_output=True, text=True,
            errors="replace", check=False, timeout=HOST_S * slow,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Host(f"does not answer within {HOST_S * slow} s")
    return read_host(seen.stdout, units) or Host(seen.stderr.strip() or "answers, and does not say how it is")


def told(seconds: int) -> str:
    """A time as a person says it."""
    minutes = seconds // 60
    if minutes < 1:
        return f"{seconds} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def wanted_nodes(known: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the nodes that the stack's output ``cluster`` has."""
    for entry in known:
        if entry["type"] == "pulumi:pulumi:Stack":
            cluster = entry.get("outputs", {}).get("cluster", {})
            return list(cluster.get("nodes", [])) if isinstance(cluster, dict) else []
    return []


def show(cache: Path, stack: str, run: Path) -> int:
    """Print what there is of a lab; 1 when something of it is not as it should be."""
    presence = Presence(cache, stack)
    if not presence.parts:
        print(f"{stack}: not up. 'make lab STACK={stack}' brings it up.")
        return 0
    seen, known = presence.look(), guide(cache, stack)
    units = {name: entry["units"] for name, entry in known.get("hosts", {}).items()}
    has_cluster = (run / "kubeconfig").exists()
    with ThreadPoolExecutor(max_workers=16) as pool:
        names = [one.part.name for one in seen if one.state == "running" and one.part.name != "network"]
        hosts = dict(zip(names, pool.map(lambda n: ask(run, n, units.get(n, [])), names), strict=True))
    nodes = presence.nodes() if has_cluster else []
    troubles = [*_of_hosts(seen, hosts, stack, with_units=has_cluster)]
    if has_cluster:
        troubles += _of_nodes(nodes, wanted_nodes(resources(cache, stack)), stack)
    held = ", ".join(f"process {lock.pid}" for lock in stacks.locks(stack))
    print(f"{stack}: {'not whole' if troubles else 'up'}{f', in use by {held}' if held else ''}")
    for one in seen:
        name = one.part.name
        if one.state != "running":
            print(f"  {name}: {one.state}{f' ({one.why})' if one.why else ''}")
        elif name in hosts:
            print(f"  {name}: {hosts[name].text}")
    if not has_cluster:
        print(f"  no cluster yet: 'make lab STACK={stack}' goes on where it stopped")
    elif nodes:
        _nodes_table(cache, run)
    for text in troubles:
        print(f"- {text}")
    return 1 if troubles else 0


def _of_hosts(seen: Sequence[Seen], hosts: Mapping[str, Host], stack: str, *, with_units: bool) -> list[str]:
    found = []
    for one in seen:
        if one.state in {"off", "gone"}:
            fix = "starts it again" if one.state == "off" else "replaces it"
            found.append(f"{one}. 'make lab STACK={stack}' {fix}.")
        elif one.state != "running":
            found.append(f"{one}.")
        elif (host := hosts.get(one.part.name)) and not host.text.startswith("up "):
            found.append(f"{one.part.name}: {host.text}")
        elif host and with_units:
            found += [
                f"{unit} on {one.part.name} {what}: 'make logs STACK={stack} HOST={one.part.name} UNIT={unit}' shows its journal, "
                f"'make ssh STACK={stack} HOST={one.part.name} CMD=\"systemctl restart {unit}\"' starts it."
                for unit, what in host.troubles
            ]
    return found


def _of_nodes(nodes: Sequence[Mapping[str, Any]], wanted: Sequence[str], stack: str) -> list[str]:
    if not nodes:
        return [f"the API server does not answer: 'make logs STACK={stack}' packs what its host says."]
    found = [f"node {node['name']} is NotReady" for node in nodes if not node["ready"]]
    there = {node["name"] for node in nodes}
    return found + [f"there is no node {name}" for name in wanted if name not in there]


def _nodes_table(cache: Path, run: Path) -> None:
    command = [
        "kubectl",
        "--kubeconfig",
        str(run / "kubeconfig"),
        f"--request-timeout={20 * patience(run)}s",
        "get",
        "nodes",
        "-o",
        "wide",
    ]
    shown = subprocess.run(
        command, executable=cache / "artifacts/upstream/bin/kubernetes", env=stacks.environment(cache),
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    print((shown.stdout or shown.stderr).rstrip())


def hint(known: Mapping[str, Any], host: str) -> str:
    """The unit whose journal tells most of a host; nothing when it is not known."""
    units = known.get("hosts", {}).get(host, {}).get("units", [])
    unit = units[0] if units else ""
    return unit if re.fullmatch(r"[A-Za-z0-9@._-]+", unit) else ""
