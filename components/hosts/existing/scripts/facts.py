#!/usr/bin/env python3
"""``facts.py create|delete|restore HOST``: how a host is reached, then what it is.

Environment: ``ADDRESS`` (host:port), ``LOGIN``, ``KEY`` (path of the private key, or nothing), ``AGENT`` (yes: the operator's agent has
it), ``JUMP_ADDRESS``, ``JUMP_LOGIN`` and ``JUMP_KEY`` of a bastion, ``CPUS`` and ``MEMORY_MIB`` (the least that it must have). Standard
input: the lines of known_hosts that are about this host and, after ``---``, those about the bastion. Writes the
host's record for the stack's ``ssh_config`` and ``known_hosts``, asks the host as root (``probe.sh``), and prints its facts as JSON. ``delete`` takes
the record away again. ``restore`` writes the record and the lab's id from the state, ``{"stdin", "stdout"}`` of this step. What hinders a lab is one paragraph with every reason and its fix.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import platform
import re
import secrets
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostio

HERE = Path(__file__).resolve().parent
RUN = HERE.parent
STACK = RUN.name

ANSWER_LIMIT_S = 60.0
CLOCK_LIMIT_S = 5.0
"""More than a busy machine takes to read an answer, far less than what certificates forgive (5 minutes)."""
KERNEL_SHARE = 0.1
"""Of a machine's memory, what the kernel may keep from MemTotal."""
DISK_FREE_MIB = 2048
"""An ``upstream`` host takes about 1.2 GiB."""
LAB_ID = "labId"
"""Whose the host is, in what ``create`` prints."""
CONTROLLERS = ("cpu", "memory", "pids")
FREE_ELSEWHERE_MIB = {"/opt": 1024, "/usr/local/bin": 300}
"""Where these are on other disks: what is copied to a host, and the largest program of a distribution (k0s)."""
LISTS = ("address", "free", "missing", "noexec", "readOnly", "resolver", "route", "upstreamResolver")
"""Keys of the probe that repeat."""

WRONG_HOST_KEY = (
    "it shows a host key that hosts.hostKeys does not have. Compare it with /etc/ssh/ssh_host_*_key.pub on the host, and correct "
    "hosts.hostKeys only if you know why it is another one"
)
WRONG_KEY = (
    "it refuses the user {user} with the key {key}. Put the key's public half into ~{user}/.ssh/authorized_keys there; sshd also refuses an "
    "account that is locked (usermod -U {user}) or has expired (chage -E -1 {user}), or whose shell is gone: 'journalctl -t sshd' there says which"
)
EXPIRED = "the account of {user} has expired there. As root on it: chage -E -1 {user}"
OLD_PASSWORD = "the password of {user} has expired there, and no command runs before it is changed. As root on it: chage -d $(date +%F) -M -1 {user}"
NO_COMMAND = (
    "a login as {user} runs no command there: its shell is none (getent passwd {user}), or sshd has a ForceCommand for it. As root on it: "
    "usermod -s /bin/bash {user}, and without ForceCommand in /etc/ssh/sshd_config"
)
NO_BASH = "there is no bash, in which all steps run: install it there"
OPEN_KEY = "ssh refuses the key {key}, for others can read it: chmod 600 {key}"
NO_ANSWER = "nothing answers there. 'ssh -p {port} {user}@{host}' from this machine must work; see to its address, its sshd and its firewall"
NO_FORWARDING = (
    "the bastion {jump} lets nobody through: its sshd_config has AllowTcpForwarding no, or PermitOpen. Allow it there"
)
NOT_BEHIND = "the bastion {jump} does not reach it: 'nc -z {host} {port}' there must work; see to the address, and to firewalls between the two"
WHY = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|No .* host key is known", WRONG_HOST_KEY),
    (r"UNPROTECTED PRIVATE KEY", OPEN_KEY),
    (r"account has expired", EXPIRED),
    (r"Permission denied", WRONG_KEY),
    (r"timed out|No route|refused|Could not resolve|unreachable", NO_ANSWER),
)
NO_SUDO = (
    "the user {user} may not use sudo there without a password. As root on it: "
    "echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/litelab && chmod 440 /etc/sudoers.d/litelab"
)
WHY_NO_SUDO = (
    (r"bash: (command )?not found", NO_BASH),
    (
        r"sudo: (command )?not found|sudo: No such file|unknown command.*sudo",
        "there is no sudo. As root on it, install it (apt-get install sudo, dnf install sudo), or let root log in (hosts.user: root)",
    ),
    (
        r"must have a tty|requiretty",
        "sudo wants a terminal for the user {user} there (requiretty). As root on it: echo 'Defaults:{user} !requiretty' >>/etc/sudoers.d/litelab",
    ),
    (
        r"account (validation failure|or password is expired)|account.*locked|password.*expired|PAM account",
        (
            "the account of {user} is locked or has expired there. As root on it: passwd -S {user} and chage -l {user} show which; "
            "usermod -U {user} or chage -E -1 -M -1 {user} ends it"
        ),
    ),
    (
        r"effective uid is not 0|setuid root|setuid bit|no new privileges|nosuid",
        (
            "sudo can't become root there: its program is not setuid root, is on a mount that is nosuid, or sshd forbids new privileges. "
            "Reinstall sudo, or let root log in (hosts.user: root)"
        ),
    ),
    (
        r"(parse|syntax) error|no valid sudoers|bad permissions|world writable|is owned by|unable to (open|stat|read).*sudoers",
        "sudo takes none of its own configuration there. As root on it: visudo -c names the file and the line",
    ),
    (
        r"not in the sudoers|may not run sudo|is not allowed to (execute|run)|not allowed to run sudo",
        (
            "the user {user} has no right to sudo there. As root on it: "
            "echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/litelab && chmod 440 /etc/sudoers.d/litelab"
        ),
    ),
)
"""What sudo says when it refuses, and its fix; a password that is asked for is the last case, NO_SUDO."""


class RefusedError(Exception):
    """The host can't be used; the message says why and how to fix it."""


@dataclass
class Facts:
    """What a host said of itself: the last value of a key, and all values of those that repeat (``LISTS``)."""

    values: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    carries: list[tuple[str, str]] = field(default_factory=list)
    clock_offset_s: float = 0.0

    def listed(self, key: str) -> list[str]:
        """All values of a key that repeats."""
        return self.lists.get(key, [])

    def number(self, key: str) -> int:
        """A value that is a whole number; 0 when the host did not know it."""
        value = self.values.get(key, "")
        return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else 0


def parse(lines: Iterator[tuple[str, float]]) -> Facts:
    """Facts from ``probe.sh``'s lines, each with this machine's clock (seconds) at its arrival."""
    facts = Facts()
    for line, arrived_s in lines:
        key, _, value = line.rstrip("\n").partition("=")
        match key:
            case _ if key in LISTS:
                facts.lists.setdefault(key, []).append(value)
            case "carries":
                what, _, fix = value.partition("|")
                facts.carries.append((what, fix))
            case "clockNs" if re.fullmatch(r"[0-9]{1,20}", value):
                facts.clock_offset_s = int(value) / 1e9 - arrived_s
            case _:
                facts.values[key] = value
    return facts


def problems(
    facts: Facts,
    own: str,
    address: str,
    cpus: int,
    memory_mib: int,
    architecture: str,
    use: Mapping[str, Any] | None = None,
) -> list[str]:
    """Why a host can't be of a lab, each with its fix.

    Args:
        facts: what it said.
        own: the lab's id.
        address: where ssh reaches it.
        cpus: the least number of processors.
        memory_mib: the least memory.
        architecture: what set-up builds for.
        use: what it is for, as ``components/hosts/existing/component.py`` says it.
    """
    found = []
    value = facts.values
    if value.get("init") != "systemd":
        found.append(f"its first process is {value.get('init')}, and labs need systemd")
    if value.get("architecture") != architecture:
        found.append(f"it is {value.get('architecture')}, and set-up builds for {architecture}, which this machine is")
    if facts.number("cpus") < cpus:
        found.append(f"it has {facts.number('cpus')} processors, and hosts.cpus asks for {cpus} at least")
    if facts.number("memoryMib") < memory_mib * (1 - KERNEL_SHARE):
        found.append(
            f"it has {facts.number('memoryMib')} MiB of memory, and hosts.memoryMib asks for {memory_mib} at least"
        )
    if value.get("lab") not in (own, "", None):
        found.append(
            f"the lab {value['lab']} uses it: destroy that lab where it was made, or, if it is gone for good, run as root on the host: "
            "for r in /opt/litelab/*/scripts/reset.sh; do $r; done; rm -rf /opt/litelab /var/lib/litelab"
        )
    elif value.get("lab") != own:
        if facts.number("diskFreeMib") < DISK_FREE_MIB:
            found.append(
                f"{facts.number('diskFreeMib')} MiB are free below /var/lib, and a lab needs {DISK_FREE_MIB}: free some"
            )
        for text in facts.listed("free"):
            folder, _, free = text.partition(" ")
            needed = FREE_ELSEWHERE_MIB.get(folder, 0)
            if free.isdecimal() and int(free) < needed:
                found.append(
                    f"{free} MiB are free below {folder}, a disk of its own, and a lab needs {needed}: free some"
                )
        found += [f"it carries {what}; to clear it, as root on the host: {fix}" for what, fix in facts.carries]
    if facts.listed("missing"):
        found.append(
            f"it lacks {', '.join(facts.listed('missing'))}: install the packages that have them (iproute2, iptables, procps, util-linux, "
            "coreutils, diffutils, hostname, tar, gzip, zstd, snapd)"
        )
    if facts.listed("readOnly"):
        found.append(
            f"{', '.join(facts.listed('readOnly'))} can't be written there, also not by root: labs need them; mount them writable, or use "
            "another host"
        )
    if facts.listed("noexec"):
        found.append(
            f"{', '.join(facts.listed('noexec'))} {'is' if len(facts.listed('noexec')) == 1 else 'are'} mounted noexec, and a lab starts "
            "programs there: mount -o remount,exec, and the same in /etc/fstab"
        )
    found += problems_of_use(facts, own, use or {})
    absent = [name for name in CONTROLLERS if name not in value.get("controllers", "").split()]
    if absent:
        found.append(
            f"its kernel has no cgroup controller {', '.join(absent)}: add cgroup_enable={absent[0]} to the kernel's command line and reboot"
        )
    if abs(facts.clock_offset_s) > CLOCK_LIMIT_S:
        ahead = "ahead of" if facts.clock_offset_s > 0 else "behind"
        found.append(
            f"its clock is {abs(facts.clock_offset_s):.0f} s {ahead} this machine's: set both by NTP (timedatectl set-ntp true)"
        )
    if address not in facts.listed("address"):
        found.append(
            f"none of its own addresses ({', '.join(facts.listed('address')) or 'none'}) is {address}, at which ssh reaches it: hosts.addresses must "
            "be the hosts' own, by which they reach each other, not those of a NAT before them"
        )
    return found


def problems_of_use(facts: Facts, own: str, use: Mapping[str, Any]) -> list[str]:
    """Why this distribution can't run on a host, each with its fix."""
    found = []
    name = use.get("distribution", "")
    if facts.values.get("lab") != own:
        found += network_problems(facts, use)
    resolvers = facts.listed("resolver")
    if use.get("internet") or use.get("has_dns"):
        local = [text for text in resolvers if is_loopback(text)]
        if local and not facts.listed("upstreamResolver"):
            found.append(
                f"its /etc/resolv.conf names {local[0]}, a resolver on its own loopback, which pods can't reach (cluster DNS would ask itself): "
                "name the real one in /etc/resolv.conf, or use systemd-resolved, whose list (/run/systemd/resolve/resolv.conf) is then taken"
            )
    if use.get("internet") and not resolvers:
        found.append(
            "its /etc/resolv.conf names no resolver, and hosts.internet lets cluster DNS ask it: name one there"
        )
    if use.get("own_names"):
        hostname = facts.values.get("hostname", "")
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", hostname):
            found.append(
                f"its name is {hostname}, and {name}'s nodes have the hosts' names, which take small letters, digits, hyphens and dots alone: "
                "hostnamectl set-hostname NAME"
            )
    if use.get("copies"):
        needed, has = glibc_of_copies(str(use["copies"])), facts.values.get("glibc", "")
        if needed and version(has) < version(needed):
            found.append(
                f"its C library is {f'glibc {has}' if has else 'not glibc'}, and {name} copies programs of this machine that need glibc {needed}: "
                "use a newer system there, drive the lab from a machine with an older one, or take a distribution that brings its own (k3s, k0s)"
            )
    return found


def network_problems(facts: Facts, use: Mapping[str, Any]) -> list[str]:
    """Addresses, routes and resolvers of a host that are in the cluster's own networks; a wider route leaves them free."""
    found = []
    for whose in ("pods", "services"):
        if whose not in use:
            continue
        network = ipaddress.IPv4Network(use[whose])
        inside = [f"its address {text}" for text in facts.listed("address") if is_in(f"{text}/32", network)]
        inside = inside or [f"its route {text}" for text in facts.listed("route") if is_in(text, network)]
        inside += [f"its resolver {text}" for text in facts.listed("resolver") if is_in(f"{text}/32", network)]
        if inside:
            found.append(
                f"{', '.join(inside[:3])} is in {network}, the network of {use['distribution']}'s {whose}, so packets for one would reach the "
                "other: take hosts and routes out of it, or another distribution"
            )
    return found


def is_in(text: str, network: ipaddress.IPv4Network) -> bool:
    """Whether text is a network inside another, or that one."""
    try:
        return ipaddress.IPv4Network(text, strict=False).subnet_of(network)
    except ValueError:
        return False


def is_loopback(text: str) -> bool:
    """Whether text is an address of loopback."""
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


def version(text: str) -> tuple[int, ...]:
    """A version's numbers, to compare; none for text that has none."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def glibc_of_copies(folder: str) -> str:
    """The newest version of glibc that a program there needs (its symbols' versions); empty when none needs it."""
    cache = Path(os.environ.get("LITELAB_CACHE") or RUN.parent.parent.parent / ".cache")
    found: set[str] = set()
    for path in [*cache.glob(f"{folder}/bin/*"), *cache.glob(f"{folder}/cni/*")]:
        with path.open("rb") as file:
            head = file.read(8192)
            # A static program names no interpreter.
            if head.startswith(b"\x7fELF") and b"/ld-linux" in head:
                found |= {t.decode() for t in re.findall(rb"\0GLIBC_(2\.\d+)(?:\.\d+)?(?=\0)", head + file.read())}
    return max(found, key=version, default="")


def lab_id() -> str:
    """Whose a host is: stack, a number made once, operator's machine. To be called under ``config_lock``."""
    path = RUN / "lab.id"
    if not path.exists():
        write(path, f"{STACK}-{secrets.token_hex(3)}@{re.sub('[^A-Za-z0-9.-]', '', socket.gethostname())}\n")
    return path.read_text(encoding="utf-8").strip()


@contextmanager
def config_lock() -> Iterator[None]:
    """Hosts are asked side by side, and all are of one lab."""
    (RUN / "hosts").mkdir(parents=True, exist_ok=True)
    with (RUN / "hosts" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(path: Path, text: str) -> None:
    """Replace a file by one of mode 0600 that holds ``text``."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def forget_lab() -> None:
    """With the last host goes what the lab knew of itself."""
    if not any((RUN / "ssh").glob("host-*")):
        for name in ("steps.jsonl", "lab.id"):
            (RUN / name).unlink(missing_ok=True)


def ssh(name: str, *options: str) -> list[str]:
    """The start of an ssh command to a host."""
    return ["ssh", "-F", str(RUN / "ssh_config"), *options, name]


def _last(said: str) -> str:
    """Last words, for a message."""
    return " ".join(said.split())[-300:].rstrip(".")


def explain(said: str, where: Mapping[str, str]) -> str:
    """What ssh's own last words mean here."""
    last = _last(said)
    if "administratively prohibited" in said:
        return f"{NO_FORWARDING.format(**where)}. ssh said: {last}"
    if "stdio forwarding failed" in said:
        return f"{NOT_BEHIND.format(**where)}. ssh said: {last}"
    # So ssh calls the far end of a connection through another machine that was not made.
    at_bastion = "jump" in where and "UNKNOWN port" in said
    for pattern, why in WHY:
        if re.search(pattern, said):
            if at_bastion:
                jump = {key.removeprefix("jump_"): value for key, value in where.items() if key.startswith("jump_")}
                text = why.format(**jump).replace("hosts.hostKeys", "hosts.bastion.hostKeys").removeprefix("it ")
                return f"the bastion {where['jump']}: {text}. ssh said: {last}"
            return f"{why.format(**where)}. ssh said: {last}"
    return f"ssh failed: {last or 'without a word'}"


def attempt(name: str, command: str) -> subprocess.CompletedProcess[str]:
    """A command on a host, as who logs in.

    Raises:
        RefusedError: it did not end.
    """
    try:
        return subprocess.run(
            [*ssh(name), command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        msg = f"it gave no answer within {ANSWER_LIMIT_S:.0f} s"
        raise RefusedError(msg) from None


def ask(name: str, where: Mapping[str, str], own: str, programs: Sequence[str] = ()) -> Facts:
    """Reach the host, become root there, and read what it is, all in one login.

    Raises:
        RefusedError: it can't be reached, or root can't be had.
    """
    frame = hostio.Frame(hostio.new_mark())
    # What hosts lack the probe tells.
    command = (
        f"$(command -v timeout >/dev/null && echo timeout {ANSWER_LIMIT_S:.0f}) bash -s {shlex.join([own, *programs])}"
    )
    process = subprocess.Popen(
        hostio.words(RUN, name, frame.mark, command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    limit = threading.Timer(ANSWER_LIMIT_S + 5, process.kill)
    limit.start()
    with suppress(BrokenPipeError):
        process.stdin.write((HERE / "probe.sh").read_text(encoding="utf-8"))
        process.stdin.close()
    facts = parse((line, time.time()) for line in frame.lines(process.stdout))
    said = process.stderr.read()
    code = process.wait()
    limit.cancel()
    if code != 0 or not frame.is_whole or "machineId" not in facts.values:
        find_hindrance(name, where)
        msg = f"it could not be asked what it is: {explain_answer(code, said, where) if said.strip() or frame.began else frame.explain()}"
        raise RefusedError(msg)
    return facts


def explain_sudo(said: str, where: Mapping[str, str]) -> str:
    """What sudo's own last words mean here."""
    last = _last(said)
    why = next((why for pattern, why in WHY_NO_SUDO if re.search(pattern, said, re.IGNORECASE)), NO_SUDO)
    return f"{why.format(**where)}. sudo said: {last or 'nothing'}"


def explain_answer(code: int, said: str, where: Mapping[str, str]) -> str:
    """What stands for an answer means here; 255 is ssh's own exit code."""
    if code == 255:
        return explain(said, where)
    if re.search(r"bash: (command )?not found", said):
        return f"{NO_BASH}. It said: {_last(said)}"
    return f"it said: {_last(said) or f'nothing, and ended with exit code {code}'}"


def explain_login(said: str, where: Mapping[str, str]) -> str:
    """Why a login that was let in runs nothing."""
    why = OLD_PASSWORD if re.search(r"[Pp]assword", said) else NO_COMMAND
    return f"{why.format(**where)}. It said: {_last(said) or 'nothing'}"


def find_hindrance(name: str, where: Mapping[str, str]) -> None:
    """Why a host could not be asked, step by step.

    Raises:
        RefusedError: it can't be reached, or root can't be had.
    """
    tried = attempt(name, "true")
    if tried.returncode == 255:
        raise RefusedError(explain(tried.stderr, where))
    if tried.returncode != 0:
        raise RefusedError(explain_login(f"{tried.stderr} {tried.stdout}", where))
    if where["user"] != "root":
        tried = attempt(name, "sudo -n bash -c true")
        if tried.returncode != 0:
            raise RefusedError(explain_sudo(tried.stderr, where))


def _path(key: str) -> str:
    return str(Path(key).expanduser()) if key else ""


def record(environment: Mapping[str, str], known_hosts: str) -> list[tuple[str, str]]:
    """How the host is reached, as ``config.sh`` takes it."""
    own, _, jump = known_hosts.partition("---\n") if "---\n" in known_hosts else (known_hosts, "", "")
    found = []
    for before, prefix, lines in (("", "", own), ("JUMP_", "Jump", jump)):
        host, _, port = environment.get(f"{before}ADDRESS", "").rpartition(":")
        if not host:
            continue
        found += [(f"{prefix}Address", host), (f"{prefix}Port", port), (f"{prefix}User", environment[f"{before}LOGIN"])]
        if key := _path(environment[f"{before}KEY"]):
            found.append((f"{prefix}Identity", key))
        if environment.get("AGENT") == "yes":
            found.append((f"{prefix}Agent", "yes"))
        found += [(f"{prefix}Known", line) for line in lines.splitlines() if line.strip()]
    return found


def create(name: str, environment: Mapping[str, str], known_hosts: str) -> dict[str, object]:
    """The host's facts, for the program.

    Raises:
        RefusedError: it can't be of the lab.
    """
    host, _, port = environment["ADDRESS"].rpartition(":")
    key = _path(environment["KEY"])
    where = {"host": host, "port": port, "user": environment["LOGIN"], "key": key or "that the agent offers"}
    if jump := environment.get("JUMP_ADDRESS"):
        jump_host, _, jump_port = jump.rpartition(":")
        jump_key = _path(environment["JUMP_KEY"]) or "that the agent offers"
        where |= {"jump": jump, "jump_host": jump_host, "jump_port": jump_port}
        where |= {"jump_user": environment["JUMP_LOGIN"], "jump_key": jump_key}
    with config_lock():
        own = lab_id()
    hostio.put_record(RUN, name, record(environment, known_hosts))
    try:
        address = socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0]
    except OSError as error:
        behind = "; behind a bastion, hosts.addresses takes IPv4 addresses" if jump else ""
        msg = f"its name has no IPv4 address here ({error}){behind}"
        raise RefusedError(msg) from None
    use = json.loads(environment.get("USE") or "{}")
    facts = ask(name, where, own, use.get("programs", ()))
    found = problems(
        facts,
        own,
        str(address),
        int(environment["CPUS"]),
        int(environment["MEMORY_MIB"]),
        platform.machine(),
        use,
    )
    if found:
        raise RefusedError("; ".join(found))
    told = {key: value for key, value in facts.values.items() if key not in {"lab", "init", "diskFreeMib", "glibc"}}
    return {
        **told,
        **{key: facts.number(key) for key in ("cpus", "memoryMib", "diskMib", "swapMib")},
        "address": address,
        # For checkouts that have nothing but the state.
        LAB_ID: own,
    }


def restore(name: str, environment: Mapping[str, str], known_hosts: str, said: str) -> None:
    """Write how the host is reached, and whose it is, as the state has it.

    Raises:
        RefusedError: the lab was made before states had its id, and the host does not say it.
    """
    known = json.loads(said)
    hostio.put_record(RUN, name, record(environment, known_hosts))
    with config_lock():
        if LAB_ID in known:
            write(RUN / "lab.id", f"{known[LAB_ID]}\n")
            return
        if (RUN / "lab.id").exists() or name in environment.get("LITELAB_GONE", "").split():
            return
    own = mark_of(name, str(known["machineId"]))
    with config_lock():
        write(RUN / "lab.id", f"{own}\n")


def mark_of(name: str, machine_id: str) -> str:
    """The id of the lab that a host says it is in the use of, if it is still the machine that the lab took.

    Raises:
        RefusedError: it says none, or is another machine.
    """
    again = f"Run the same command again when it answers; if it is gone for good, 'make destroy STACK={STACK} GONE={name}' ends the lab without it"
    try:
        said = hostio.ask(RUN, name, "cat /etc/machine-id; cat /var/lib/litelab/lab", limit_s=ANSWER_LIMIT_S)
    except hostio.AnswerError as error:
        msg = (
            f"the state is of a version that did not keep the lab's id, and the host does not say it ({error}). {again}"
        )
        raise RefusedError(msg) from None
    found, _, own = said.strip().partition("\n")
    if found != machine_id or not own.startswith(f"{STACK}-"):
        msg = f"it is not in this lab's use any more: its machine id is {found}, and /var/lib/litelab/lab there says {own or 'nothing'}. {again}"
        raise RefusedError(msg)
    return own


def delete(name: str) -> int:
    """Forget how the host is reached, once it is given back; the exit code of that."""
    if (RUN / "hosts" / f"{name}.claim").exists():
        # The step that took it failed in the end, so it is in no state, and only here.
        code = subprocess.run([str(HERE / "host.sh"), "delete", name], check=False).returncode
        if code != 0:
            return code
    hostio.drop_record(RUN, name)
    with config_lock():
        forget_lab()
    return 0


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["create", name]:
            known = (RUN / "ssh" / name).exists()
            try:
                facts = create(name, os.environ, sys.stdin.read())
            except RefusedError as error:
                if not known:
                    delete(name)
                print(f"error: {name} ({os.environ['ADDRESS']}): {error}. Nothing was changed on it.", file=sys.stderr)
                return 1
            print(json.dumps(facts))
            return 0
        case ["delete", name]:
            return delete(name)
        case ["restore", name]:
            state = json.load(sys.stdin)
            try:
                restore(name, os.environ, state["stdin"], state["stdout"])
            except RefusedError as error:
                print(f"error: {name} ({os.environ['ADDRESS']}): {error}. Nothing was changed on it.", file=sys.stderr)
                return 1
            return 0
    print("usage: facts.py create|delete|restore HOST", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
