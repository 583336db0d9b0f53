"""What is there of a lab's hosts: command resources have no read, so ``make`` looks before it believes the state.

Each host kind has a script ``presence.*`` beside its others: ``look NAME`` prints ``STATE REASON``, ``start NAME`` starts a host that
is off. It gets the environment of the step that made the host, as the state has it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.errors import SetupError
from tools.lab import stacks
from tools.places import OWN, PROJECT

STATES = ("running", "off", "gone", "changed", "unreachable")
LOOK_S = 60
START_S = 1200
SETTLE_S = 30
"""How long a host that does not answer may take to be up or off."""
READY_S = 300
"""How long a cluster may take to come back once its hosts run."""


def patience(run: Path) -> int:
    """How many times longer than on hardware a lab may take, as its hosts or this machine have said when it was made."""
    try:
        return max(int((run / "patience").read_text(encoding="utf-8")), 1)
    except (OSError, ValueError):
        return 1


_STEP = "command:local:Command"
_PART = r"network|host-\d+"


@dataclass(frozen=True)
class Part:
    """A host of a lab, or the network between its hosts, as the state knows it.

    Attributes:
        name: ``host-1`` and so on, or ``network``.
        urn: of the step that made it.
        environment: what that step was given.
        identity: what it printed.
        stands_on: URNs of provider resources that go with it, as a guest's domain and disk.
    """

    name: str
    urn: str
    environment: Mapping[str, str]
    identity: str
    stands_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What was seen of a part.

    Attributes:
        part: the part.
        state: one of ``STATES``.
        why: the reason, unless it is running.
    """

    part: Part
    state: str
    why: str = ""

    def __str__(self) -> str:
        """As a part of a sentence."""
        return f"{self.part.name} is {self.state}{f': {self.why}' if self.why else ''}"


def resources(cache: Path, stack: str) -> list[dict[str, Any]]:
    """What the stack's state has; nothing when there is no state."""
    return whole(stacks.latest(stack, cache).get("resources"))


def whole(found: object) -> list[dict[str, Any]]:
    """Those of a state's resources that Pulumi can have written, without those that are about to go."""
    return (
        [entry for entry in found if _is_resource(entry) and not entry.get("delete")] if isinstance(found, list) else []
    )


def _is_resource(entry: object) -> bool:
    """Whether it has the form that Pulumi gives a resource in its state."""
    if not isinstance(entry, dict):
        return False
    inputs, outputs = entry.get("inputs", {}), entry.get("outputs", {})
    return (
        isinstance(entry.get("urn"), str)
        and isinstance(entry.get("type"), str)
        and isinstance(entry.get("parent", ""), str)
        and isinstance(inputs, dict)
        and isinstance(outputs, dict)
        and isinstance(inputs.get("environment", {}), dict)
    )


def kind_of(known: Sequence[Mapping[str, Any]]) -> str:
    """The lab's kind of hosts, or nothing when it has none yet."""
    for entry in known:
        if found := re.fullmatch(r"litelab:hosts:(\w+)Hosts", entry["type"]):
            return found[1].lower()
    return ""


def parts(known: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Network and hosts that the state has, in that order."""
    parents = {entry["urn"] for entry in known if re.fullmatch(r"litelab:hosts:\w+Hosts", entry["type"])}
    found = []
    for entry in known:
        name = entry["urn"].rpartition("::")[2]
        if entry["type"] != _STEP or entry.get("parent") not in parents or not re.fullmatch(_PART, name):
            continue
        given = entry.get("inputs", {}).get("environment", {})
        plain = {key: value for key, value in given.items() if isinstance(value, str)}
        said = entry.get("outputs", {}).get("stdout", "")
        below = [e["urn"] for e in known if re.search(rf"::(domain|disk)-{name}$", e["urn"]) and "libvirt" in e["type"]]
        found.append(Part(name, entry["urn"], plain, said if isinstance(said, str) else "", tuple(below)))
    return sorted(
        found,
        key=lambda part: (part.name != "network", int(part.name.rpartition("-")[2] or 0) if "-" in part.name else 0),
    )


def script(kind: str, known: Sequence[Part]) -> Path | None:
    """The kind's ``presence.*``: the lab's own copy, beside which the scripts are that made it, else the checkout's."""
    folders = [PROJECT / Path(part.environment["STEP"]).parent for part in known if "STEP" in part.environment]
    for folder in (*folders, PROJECT / "components" / "hosts" / kind / "scripts"):
        if scripts := sorted(folder.glob("presence.*")):
            return scripts[0]
    return None


class Presence:
    """A lab's hosts, looked at when asked."""

    def __init__(self, cache: Path, stack: str) -> None:
        self.stack = stack
        self.run = OWN / "run" / stack
        self._cache = cache
        known = resources(cache, stack)
        self.kind = kind_of(known)
        self.parts = parts(known)
        self._script = script(self.kind, self.parts)

    @property
    def patience(self) -> int:
        """``patience`` of this lab."""
        return patience(self.run)

    def _command(self, verb: str, part: Part) -> tuple[list[str], dict[str, str]]:
        own = {"LITELAB_RUN": str(self.run), "IDENTITY": part.identity}
        return [str(self._script), verb, part.name], {**stacks.environment(self._cache), **part.environment, **own}

    def look(self) -> list[Seen]:
        """Every part of the lab, all looked at at once; nothing for a lab that has no hosts, or of a kind that can't be looked at."""
        if self._script is None or not self.parts:
            return []
        with ThreadPoolExecutor(max_workers=16) as pool:
            return list(pool.map(self._look, self.parts))

    def _look(self, part: Part) -> Seen:
        if self.kind != "nspawn" and part.name == "network":
            return Seen(part, "running")
        command, environment = self._command("look", part)
        try:
            done = subprocess.run(
                command, cwd=PROJECT, env=environment, capture_output=True, text=True, errors="replace",
                check=False, timeout=LOOK_S * self.patience, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Seen(part, "unreachable", f"nothing was heard of it within {LOOK_S * self.patience} s")
        state, _, why = done.stdout.strip().partition(" ")
        if done.returncode != 0 or state not in STATES:
            return Seen(
                part, "unreachable", " ".join(done.stderr.split()).removeprefix("error: ") or "it can't be looked at"
            )
        return Seen(part, state, why)

    def start(self, seen: Sequence[Seen]) -> None:
        """Start what is off, the network first.

        Raises:
            SetupError: something did not start, with its own words.
        """
        network = [s.part for s in seen if s.part.name == "network"]
        hosts = [s.part for s in seen if s.part.name != "network"]
        for part in network:
            self._start(part)
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(self._start, hosts))

    def _start(self, part: Part) -> None:
        command, environment = self._command("start", part)
        try:
            done = subprocess.run(
                command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, errors="replace", check=False, timeout=START_S * self.patience, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            msg = f"{part.name} of the lab {self.stack} did not start within {START_S * self.patience} s. 'make logs STACK={self.stack}' says more."
            raise SetupError(msg) from None
        if done.returncode != 0:
            words = done.stderr.strip().removeprefix("error: ")
            msg = (
                f"{part.name} of the lab {self.stack} could not be started again. {words or 'Its script said nothing.'}"
            )
            raise SetupError(msg)

    def nodes(self) -> list[dict[str, Any]]:
        """The cluster's nodes, each with the time of its last sign of life (``seen``); nothing when the API server does not answer."""
        shown = [self._get("nodes"), self._get("leases", "-n", "kube-node-lease")]
        if shown[0] is None:
            return []
        leases = {e["metadata"]["name"]: e.get("spec", {}).get("renewTime", "") for e in shown[1] or []}
        return [
            {
                "name": node["metadata"]["name"],
                "ready": any(
                    c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", [])
                ),
                "seen": leases.get(node["metadata"]["name"], ""),
            }
            for node in shown[0]
        ]

    def _get(self, *words: str) -> list[dict[str, Any]] | None:
        kubectl = self._cache / "artifacts/upstream/bin/kubernetes"
        command = [
            "kubectl",
            "--kubeconfig",
            str(self.run / "kubeconfig"),
            f"--request-timeout={10 * self.patience}s",
            "get",
            *words,
            "-o",
            "json",
        ]
        try:
            done = subprocess.run(
                command, executable=kubectl, env=stacks.environment(self._cache), capture_output=True, text=True,
                check=False, timeout=30 * self.patience, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError):
            return None
        return items

    def await_cluster(self, since: float) -> str:
        """Wait until every node has been Ready since a time (Unix); what it waited for in vain, or nothing."""
        if not (self.run / "kubeconfig").exists():
            return ""
        # Until its controller has missed it, a node that is gone is shown as Ready.
        begun = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))
        deadline, nodes = time.monotonic() + READY_S * self.patience, list[dict[str, Any]]()
        while time.monotonic() < deadline:
            nodes = self.nodes()
            if nodes and all(node["ready"] and node["seen"] > begun for node in nodes):
                return ""
            time.sleep(1)
        if not nodes:
            return "the API server does not answer"
        late = [n["name"] for n in nodes if not (n["ready"] and n["seen"] > begun)]
        return f"{', '.join(late)} not Ready"


@dataclass(frozen=True)
class Replacement:
    """What Pulumi must be told to replace what is gone.

    Attributes:
        flags: for ``pulumi up``.
        environment: steps that would undo something on a host that is gone skip it.
    """

    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def gone(hosts: Iterable[str]) -> dict[str, str]:
    """What tells steps that nothing is to be undone on these hosts."""
    return {"LITELAB_GONE": " ".join(hosts)} if hosts else {}


def bring_back(presence: Presence, given_up: Sequence[str] = ()) -> Replacement:
    """Before ``up``: start what is off, agree on what is lost; hosts that are given up are not looked for.

    Raises:
        SetupError: hosts that can't be started or replaced by themselves, or nobody agreed to lose what was on them.
    """
    stack, seen = presence.stack, presence.look()
    deadline = time.monotonic() + SETTLE_S
    while any(one.state == "unreachable" for one in seen) and time.monotonic() < deadline:
        # It may be shutting down, or starting.
        time.sleep(2)
        seen = presence.look()
    missing = [one for one in seen if one.state != "running" and one.part.name not in given_up]
    if not missing:
        return Replacement((), gone(given_up))
    print(f"Lab {stack}: {'; '.join(map(str, missing))}.", flush=True)
    stuck = [one for one in missing if one.state in {"unreachable", "changed"}]
    if stuck:
        msg = f"{'; '.join(map(str, stuck))}. Nothing was changed. {_fix(stack, stuck)}"
        raise SetupError(msg)
    lost = [one for one in missing if one.state == "gone"]
    off = [one for one in missing if one.state == "off"]
    if lost:
        _agree(stack, lost)
    began = time.time()
    network_off = any(one.part.name == "network" for one in off)
    if network_off:
        # Hosts hang on it by links that went with it.
        known = {one.part.name for one in missing}
        off += [Seen(one.part, "off") for one in seen if one.part.name not in known]
    presence.start(off)
    if off:
        names = ", ".join(one.part.name for one in off)
        print(f"Started again, with what is on disk: {names}.", flush=True)
    if off and not lost:
        late = presence.await_cluster(began)
        if late:
            msg = (
                f"The hosts of the lab {stack} were started again, and after {READY_S * presence.patience} s its cluster has not come back: {late}. 'make status "
                f"STACK={stack}' names hosts and units, 'make logs STACK={stack}' packs what they say. 'make destroy STACK={stack}', then "
                f"'make lab STACK={stack}' makes it again."
            )
            raise SetupError(msg)
    if not lost:
        return Replacement((), gone(given_up))
    without = gone([*given_up, *(one.part.name for one in lost)])
    disks = [f"--replace={urn}" for one in lost for urn in one.part.stands_on if "::disk-" in urn]
    if disks:
        # The guest is a provider's resource: a refresh finds that it is gone.
        return Replacement(("--refresh", *disks), without)
    return Replacement(tuple(f"--replace={one.part.urn}" for one in lost), without)


def _fix(stack: str, stuck: Sequence[Seen]) -> str:
    if any(one.state == "changed" for one in stuck):
        return (
            f"Put back the hosts that the lab took; or 'make destroy STACK={stack}' ends the lab, and 'make lab STACK={stack}' takes "
            "the hosts as they are now."
        )
    return f"See to them ('make ssh STACK={stack} HOST={stuck[0].part.name}', the machine's console), then run the same command again."


def _agree(stack: str, lost: Sequence[Seen]) -> None:
    """Ask before hosts are replaced.

    Raises:
        SetupError: nobody agreed.
    """
    names = ", ".join(one.part.name for one in lost)
    what = f"Replacing {names} installs the cluster of the lab {stack} again on new hosts; what was on the old ones is lost"
    if os.environ.get("CI") == "true" or os.environ.get("YES") == "1":
        print(f"{what}.", flush=True)
        return
    agreed = sys.stdin.isatty() and input(f"{what}. Replace? [y/N] ").strip().lower() in {"y", "yes"}
    if not agreed:
        msg = f"{what}. Nothing was changed. 'make lab STACK={stack} YES=1' replaces them."
        raise SetupError(msg)
