"""``make logs STACK=...``: everything that tells why a lab is as it is, in one archive that can be handed on.

It holds no secret: what could hold one (state, keys, kubeconfig, configuration marked secret) is never read into it, and every
text passes ``redact``.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.errors import SetupError
from tools.lab import hostio, redact, stacks, status
from tools.places import OWN, PROJECT, hand_over
from tools.setup import doctor
from tools.setup import pins as versions

HOST_TIMEOUT_S = 60
JOURNAL_LINES = 4000
NEWEST_RUNS = 20
TEXT_LIMIT = 4 * 2**20
"""The end of a longer text tells more than its beginning."""

NEWEST_RESULTS = 5
MOST_POD_LOGS = 40
POD_LOG_LINES = 300
UNIT_LINES = 1500

_JOURNAL = "journalctl --no-pager"
_SECTION = 'section() { printf \'\\n===== %s\\n\' "$*"; "$@" 2>&1; }\n'
# Of a host and of the operator's machine alike: what a network, a disk or swap may have to do with it.
_SYSTEM = """
section uname -a
section uptime
section free -m
section cat /proc/swaps
section df -h
section df -i
section cat /proc/mounts
section cat /proc/self/cgroup
section cat /sys/fs/cgroup/cgroup.controllers
section ip -br addr
section ip -d -br link
section ip route show table all
section ip rule
section cat /etc/resolv.conf
section cat /etc/hosts
"""
_ON_HOST = f"""{_SECTION}{_SYSTEM}
section date -u
section cat /etc/os-release
section cat /etc/litelab/environment
section systemctl list-units --failed --no-legend --plain
section systemctl list-units --type=service --all --no-legend --plain
for unit in UNITS; do
  section systemctl status --no-pager -n 0 "$unit"
  section systemctl show -p NRestarts -p Result -p ActiveEnterTimestamp "$unit"
  section {_JOURNAL} -n {UNIT_LINES} -o short-iso-precise -u "$unit"
done
section {_JOURNAL} -n {JOURNAL_LINES} -o short-iso-precise
section cat /var/lib/litelab/steps.jsonl
exit 0
"""
_ON_MACHINE = f"""{_SECTION}{_SYSTEM}
section id
section systemd-detect-virt
section nft list tables
section sysctl vm.overcommit_memory kernel.panic fs.inotify.max_user_instances fs.inotify.max_user_watches net.ipv4.ip_forward
section find /run/litelab -maxdepth 3
section ip netns list
exit 0
"""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was written.

    Attributes:
        path: where it is.
        holds: what is in it, in words.
        lacks: why there is nothing of hosts in it, or of some; empty when all is there.
    """

    path: Path
    holds: str
    lacks: str


def make(cache: Path, stack: str) -> Bundle:
    """Write the bundle to ``.lab/logs/<stack>-<time>.tar.gz``, readable by its owner alone.

    Raises:
        SetupError: a secret of the lab was left in a text; nothing is written then.
    """
    run = OWN / "run" / stack
    secrets = redact.known_secrets(_secret_files(run)) | redact.known_logins(_login_files(stack, run))
    texts: dict[str, str] = {}
    for name, text in _texts(cache, stack, run):
        texts[name] = redact.clean(text[-TEXT_LIMIT:], secrets)
        if redact.left(texts[name], secrets):
            msg = (
                f"make logs: {name} still holds a secret of the lab {stack} after all that looks like one was taken out, so no bundle was "
                f"written. Look at the parts by hand: {cache / 'logs'}, {run}, and 'make logs STACK={stack} HOST=host-1'."
            )
            raise SetupError(msg)
    now = dt.datetime.now(dt.UTC)
    name = f"{stack}-{now:%Y%m%dT%H%M%SZ}"
    logs = OWN / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = logs / f"{name}.tar.gz"
    temporary = logs / f".{name}.new"
    temporary.unlink(missing_ok=True)
    opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        for path, text in texts.items():
            content = text.encode()
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mtime, entry.mode = len(content), int(now.timestamp()), 0o600
            tar.addfile(entry, io.BytesIO(content))
    temporary.replace(target)
    hand_over(logs)
    return Bundle(target, *_contents(texts, stack))


def _contents(texts: Mapping[str, str], stack: str) -> tuple[str, str]:
    """What is in a bundle, and what is not and why."""
    asked = {name.split("/")[1]: text for name, text in texts.items() if name.endswith("/journal.txt")}
    silent = [host for host, text in asked.items() if f"===== {_JOURNAL}" not in text]
    pulumi = json.loads(texts["pulumi.json"])
    parts = {
        "set-up's logs": _any(texts, "set-up/"),
        f"the journal of {_listed([host for host in asked if host not in silent])}": len(asked) > len(silent),
        "the hosts' consoles": any(name.endswith("/console.log") for name in texts),
        "the lab's steps": "lab/steps.jsonl" in texts,
        "what measuring said": _any(texts, "results/"),
        "what make printed": _any(texts, "console/"),
        "nodes, pods, events and the cluster's own logs": texts.get("cluster/nodes.txt", "").startswith("NAME"),
        "this machine's network, disk and swap": True,
        "what Pulumi did": bool(pulumi["runs"] or pulumi["resources"]),
        "settings": True,
        "versions": True,
        "what make doctor finds": True,
    }
    lacks = ""
    if not asked:
        lacks = f"The lab {stack} is not up, so no host was asked for its journal."
    elif silent:
        lacks = f"{_listed(silent)} gave no journal; the bundle has what ssh said."
    return _listed([part for part, is_there in parts.items() if is_there]), lacks


def _any(texts: Mapping[str, str], folder: str) -> bool:
    return any(name.startswith(folder) for name in texts)


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _secret_files(run: Path) -> list[Path]:
    """Where this lab's secrets are: they must not be in the bundle."""
    on_disks = [p for host in run.glob("hosts/*/upper") for p in _keys_below(host)]
    return [OWN / "passphrase", run / "id_ed25519", run / "kubeconfig", *on_disks]


def _login_files(stack: str, run: Path) -> list[Path]:
    """Where the logins of mirrors are: what a setting names, and what hosts were given."""
    settings = (
        PROJECT / "stacks" / f"{_lab_of(stack)}.yaml",
        OWN / "site.yaml",
        OWN / "config" / f"Pulumi.{stack}.yaml",
    )
    named = [
        PROJECT / Path(name).expanduser()
        for path in settings
        for name in re.findall(r"""\bregistriesAuth["']?\s*:\s*["']?([^\s"',}]+)""", _read(path))
    ]
    return [*named, *run.glob("hosts/*/upper/etc/litelab/registries-auth.json")]


def _keys_below(disk: Path) -> Iterator[Path]:
    for folder in ("etc/kubernetes", "etc/ssh", "var/lib/k0s", "var/lib/rancher", "var/lib/microshift", "var/snap"):
        for path in (disk / folder).rglob("*"):
            if path.suffix in {".key", ".conf"} or path.name in {"ssh_host_ed25519_key", "token", "node-token"}:
                yield path


def _texts(cache: Path, stack: str, run: Path) -> Iterator[tuple[str, str]]:
    """Name in the bundle, and content."""
    guide = status.guide(cache, stack)
    yield "README.txt", _read_me(stack)
    if guide:
        yield "settings/guide.json", json.dumps(guide, indent=1)
    yield "versions.json", json.dumps(_versions(cache), indent=1)
    yield "doctor.json", json.dumps([f.shown() for f in doctor.findings()], indent=1)
    yield "pulumi.json", json.dumps(_pulumi(stack), indent=1)
    lab = PROJECT / "stacks" / f"{_lab_of(stack)}.yaml"
    if lab.exists():
        yield f"settings/{lab.name}", _read(lab)
    yield "settings/configuration.txt", _configuration(stack)
    yield "events.jsonl", _read(OWN / "logs" / f"{stack}.jsonl")
    for path in sorted((cache / "logs").glob("*.log")):
        yield f"set-up/{path.name}", _read(path)
    for path in sorted([*run.glob("*.jsonl"), *run.glob("*.log"), *run.glob("lab.env"), *run.glob("forwards/*.log")]):
        yield f"lab/{path.name}", _read(path)
    for console in sorted(run.glob("hosts/*/console.log")):
        yield f"hosts/{console.parent.name}/console.log", _read(console)
    results = sorted((OWN / "results" / stack).glob("2*/"))
    for folder in results[-NEWEST_RUNS:]:
        if (folder / "console.log").exists():
            yield f"results/{folder.name}.txt", _read(folder / "console.log")
        for name in ("result.json", "summary.json") if folder in results[-NEWEST_RESULTS:] else ():
            # Half of one would be of no use.
            if (path := folder / name).exists() and path.stat().st_size < TEXT_LIMIT:
                yield f"results/{folder.name}/{name}", _read(path)
    for verb in ("lab", "bench", "destroy"):
        if text := _read(OWN / "logs" / f"{stack}.{verb}.log"):
            yield f"console/make-{verb}.txt", text
    yield "machine/state.txt", _said(["bash", "-s"], stdin=_ON_MACHINE)
    yield "machine/proxies.txt", _proxies()
    yield "machine/git.txt", _git()
    if (run / "ssh_config").exists():
        for host in re.findall(r"^Host (host-\d+)$", _read(run / "ssh_config"), re.MULTILINE):
            units = " ".join(guide.get("hosts", {}).get(host, {}).get("units", [])) or "''"
            journal = _said([*hostio.ask(run, host), "bash -s"], stdin=_ON_HOST.replace("UNITS", units))
            yield f"hosts/{host}/journal.txt", journal
    if (run / "kubeconfig").exists():
        yield from _of_cluster(cache, run)


def _of_cluster(cache: Path, run: Path) -> Iterator[tuple[str, str]]:
    """What the API server says, and what its own pods have printed."""

    def kubectl(*words: str) -> str:
        command = ["kubectl", "--kubeconfig", str(run / "kubeconfig"), "--request-timeout=20s", *words]
        return _said(command, program=cache / "artifacts/upstream/bin/kubernetes")

    nodes = kubectl("get", "nodes", "-o", "wide")
    yield "cluster/nodes.txt", nodes
    if not nodes.startswith("NAME"):
        # Each further question would wait as long for the same answer.
        return
    yield "cluster/nodes-described.txt", kubectl("describe", "nodes")
    yield "cluster/pods.txt", kubectl("get", "pods", "--all-namespaces", "-o", "wide")
    yield "cluster/namespaces.txt", kubectl("get", "namespaces", "-o", "wide")
    yield "cluster/events.txt", kubectl("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp")
    listed = kubectl(
        "get", "pods", "--all-namespaces", "--no-headers", "-o", "custom-columns=N:.metadata.namespace,P:.metadata.name"
    )
    pods = [words for line in listed.splitlines() if len(words := line.split()) == 2]
    system = [(space, pod) for space, pod in pods if space == "kube-system" or space.startswith("openshift-")]
    for space, pod in system[:MOST_POD_LOGS]:
        options = ("-n", space, pod, "--all-containers", "--prefix", f"--tail={POD_LOG_LINES}")
        yield f"cluster/logs/{space}/{pod}.txt", kubectl("logs", *options)
        before = kubectl("logs", *options, "--previous")
        if "not found" not in before:
            yield f"cluster/logs/{space}/{pod}.previous.txt", before


def _proxies() -> str:
    """Proxy variables, without who logs in there."""
    names = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    lines = [
        f"{form}={redact.without_login(os.environ[form])}"
        for name in names
        for form in (name, name.upper())
        if os.environ.get(form)
    ]
    return "\n".join(lines or ["no proxy variable is set"]) + "\n"


def _git() -> str:
    """The commit, and the names of files that differ from it; never their content."""
    commit = _said(["git", "-C", str(PROJECT), "log", "-1", "--format=%H %cI %s"])
    return f"{commit}\nfiles that differ:\n{_said(['git', '-C', str(PROJECT), 'status', '--short'])}"


def _read_me(stack: str) -> str:
    return (
        f"What the lab {stack} left of its making, for whoever is to find out what is wrong with it.\n"
        "Keys, kubeconfig, state and passphrase are not in here; what looked like a secret reads "
        f"'{redact.GONE}'. Host names and addresses are. Look through it before you hand it on.\n"
    )


def _versions(cache: Path) -> dict[str, Any]:
    pins = versions.load()
    return {
        "litelab": _said(["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--tags"]).strip(),
        "python": sys.version,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": _read(Path("/etc/os-release")),
        "programs": {name: pin["version"] for name, pin in pins["go"]["programs"].items()},
        "pulumi": _said([str(cache / "bin/pulumi"), "version"]).strip(),
        "rootImage": (cache / "rootfs/current").resolve().name,
    }


def _pulumi(stack: str) -> dict[str, Any]:
    """What Pulumi did and what it knows: names, kinds, times and outcomes, never a resource's inputs or outputs."""

    def resource(entry: dict[str, Any]) -> dict[str, Any]:
        return {key: entry[key] for key in ("urn", "type", "created", "modified", "initErrors") if key in entry}

    latest = stacks.latest(stack)
    state = stacks.folder()
    history = sorted((state / ".pulumi" / "history" / stacks.NAME / stack).glob("*.history.json")) if state else []
    runs = []
    for path in history[-NEWEST_RUNS:]:
        try:
            entry = json.loads(_read(path))
        except ValueError:
            continue
        wanted = ("kind", "startTime", "endTime", "result", "resourceChanges")
        runs.append({key: entry[key] for key in wanted if key in entry})
    pending = [
        {"type": operation.get("type"), **resource(operation.get("resource", {}))}
        for operation in latest.get("pending_operations") or []
    ]
    return {
        "runs": runs,
        "resources": [resource(entry) for entry in latest.get("resources") or []],
        "pending": pending,
        "locks": [{"pid": lock.pid, "since": lock.since, "dead": lock.is_dead} for lock in stacks.locks(stack)],
    }


def _lab_of(stack: str) -> str:
    found = re.search(
        r"^  litelab:lab: *['\"]?([a-z0-9-]+)", _read(OWN / "config" / f"Pulumi.{stack}.yaml"), re.MULTILINE
    )
    return found[1] if found else stack


def _configuration(stack: str) -> str:
    """The stack's own settings; what Pulumi keeps encrypted is left out, salt and all."""
    lines = _read(OWN / "config" / f"Pulumi.{stack}.yaml").splitlines()
    return "\n".join(line for line in lines if "secure:" not in line and "encryptionsalt" not in line) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _said(command: list[str], *, stdin: str = "", program: Path | None = None) -> str:
    """What a program prints within a minute; that it did not, otherwise."""
    try:
        done = subprocess.run(
            command,
            executable=program,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=HOST_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not answer within {HOST_TIMEOUT_S} s\n"
    except OSError as error:
        return f"{command[0]} can't be run: {error.strerror}\n"
    return done.stdout
