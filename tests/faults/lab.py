"""A lab of one host that faults are injected into, driven by the commands that the README names."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.running import Running
from tests.lab import machine
from tests.lab.lab import PROJECT, UP_TIMEOUT_S, LabStack

ONE_HOST = {
    "workers": "0",
    "controllerRunsWorkloads": "true",
    "workloads": "[]",
    "hosts.memoryMib": "1536",
}
"""Settings of a lab that is up in seconds."""
PATIENT = {"SSH_TIMEOUT_S": "300"}
"""For a machine that other work keeps busy."""
STATE = PROJECT / ".lab" / "state" / ".pulumi"
LOGS = PROJECT / ".lab" / "faults" / "logs"
ORPHANS = PROJECT / "components/hosts/nspawn/scripts/orphans.sh"


@dataclass
class FaultLab(LabStack):
    """One stack, what its commands printed, and the secrets that it has had."""

    printed: list[Path] = field(default_factory=list, repr=False)
    secrets: set[str] = field(default_factory=set, repr=False)
    _count: itertools.count[int] = field(default_factory=itertools.count, repr=False)

    @property
    def id(self) -> str:
        """The lab's own name on the machine, also when it recorded none."""
        return f"{self.name}-{hashlib.sha256(str(PROJECT.resolve()).encode()).hexdigest()[:6]}"

    @property
    def state_file(self) -> Path:
        return STATE / "stacks" / "litelab" / f"{self.name}.json"

    # Commands

    def start(self, *command: str, env: Mapping[str, str] | None = None) -> Running:
        """Any command, as from a terminal; its output is kept for the search for secrets."""
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / f"{self.name}-{next(self._count):03}.log"
        self.printed.append(log)
        return Running(command, PROJECT, {**PATIENT, **self.env, **(env or {})}, log)

    def start_verb(self, verb: str, env: Mapping[str, str] | None = None) -> Running:
        """``make lab`` or ``make destroy``, without the set-up before them."""
        return self.start("python3", "-m", "tools.lab", verb, self.name, env=env)

    def start_pulumi(self, verb: str) -> Running:
        """Plain ``pulumi up`` or ``destroy``."""
        return self.start("pulumi", verb, "--yes", "--skip-preview", "--non-interactive", "--stack", self.name)

    def verb(
        self, verb: str, env: Mapping[str, str] | None = None, *, timeout_s: float = UP_TIMEOUT_S
    ) -> tuple[int, str]:
        """Exit code and output of ``make lab`` or ``make destroy``."""
        running = self.start_verb(verb, env)
        return running.wait(timeout_s), running.output

    def goes(self, verb: str) -> None:
        """``make lab`` or ``make destroy``, which must succeed."""
        code, output = self.verb(verb)
        assert code == 0, f"{verb} after the fault: exit code {code}\n{output[-5000:]}"

    def cleared(self) -> None:
        """Whatever a failed test left, by any means."""
        if not self._has_anything():
            return
        with_state = self.state_file.exists()
        if with_state and self.verb("destroy")[0] != 0:
            self.pulumi("cancel", "--yes", check=False)
            self.pulumi("destroy", "--yes", "--skip-preview", check=False)
        script = self._last_published("nspawn", "network.sh")
        if (self.run_folder / "lab.env").exists() and script:
            subprocess.run([script, "delete"], stdin=subprocess.DEVNULL, timeout=120, check=False)

    def _has_anything(self) -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError):
            latest = json.loads(self.state_file.read_text())["checkpoint"]["latest"] or {}
            in_use = any((STATE / "locks").rglob(f"{self.name}/*.json"))
            return bool(latest.get("resources") or in_use or (self.run_folder / "lab.env").exists())
        return True

    def _last_published(self, part: str, script: str) -> Path | None:
        found = sorted(self.run_folder.glob(f"{part}-*/{script}"), key=lambda p: p.stat().st_mtime)
        return found[-1] if found else None

    def removed(self) -> None:
        """The stack too, with its history and its folders."""
        self.cleared()
        if self.state_file.exists():
            self.pulumi("stack", "rm", "--yes", "--force", check=False)
        for folder in (self.run_folder, self.results_folder):
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def ready(self) -> Iterator[FaultLab]:
        """Its stack, with nothing of a killed run in it; it goes when the block ends."""
        self.removed()
        try:
            self.prepare()
            yield self
        finally:
            self.removed()

    # What is seen of it

    def works(self) -> None:
        """The API server answers, and says that every node is Ready."""
        nodes = self.get("nodes")["items"]
        ready = [c["status"] for node in nodes for c in node["status"]["conditions"] if c["type"] == "Ready"]
        assert ready, "the cluster has no node"
        assert set(ready) == {"True"}, ready

    def pending(self) -> list[str]:
        """Operations that the state calls half done."""
        latest = json.loads(self.state_file.read_text())["checkpoint"]["latest"] or {}
        return [p["resource"]["urn"] for p in latest.get("pending_operations") or []]

    def orphans(self) -> list[str]:
        """Everything on this machine that bears the lab's name and that no state knows."""
        told = subprocess.run([ORPHANS], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL).stdout
        lines = [line for line in told.splitlines() if line.startswith(f"lab {self.id}:")]
        uplink = f"{self.id[:8]}-{hashlib.sha256(self.id.encode()).hexdigest()[:6]}"
        for kind, found in machine.look().traces_of(self.id, uplink).items():
            lines += [f"{kind}: {line}" for line in found if not _is_this_test(line)]
        return lines

    # Secrets

    def note_secrets(self) -> None:
        """Remember what must never be seen: a line out of each private key and of the kubeconfig."""
        for path in (self.run_folder / "id_ed25519", *self.run_folder.glob("hosts/*/upper/etc/ssh/ssh_host_*_key")):
            if path.is_file():
                self.secrets.update(_inside(path.read_text()))
        for path in (
            *self.run_folder.glob("hosts/*/upper/etc/kubernetes/pki/*.key"),
            *self.run_folder.glob("hosts/*/upper/etc/kubernetes/*.conf"),
        ):
            self.secrets.update(_inside(path.read_text()))
        if self.kubeconfig.is_file():
            self.secrets.update(_inside(self.kubeconfig.read_text()))
        passphrase = (PROJECT / ".lab/passphrase").read_text().strip()
        self.secrets.add(passphrase)

    def leaks(self) -> list[str]:
        """Where one of its secrets is seen: output, state with backups and history, results, any process."""
        if not self.secrets:
            return []
        files = [*self.printed, *self._state_files(), *(p for p in self.results_folder.rglob("*") if p.is_file())]
        # Python would try each of hundreds of secrets at each byte.
        found = subprocess.run(
            ["grep", "-laF", "-f", "-", "--", *map(str, files)],
            input="\n".join(self.secrets), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert found.returncode < 2, found.stderr
        return found.stdout.splitlines() + list(self._processes_that_show_one())

    def _processes_that_show_one(self) -> Iterator[str]:
        needles = [s.encode() for s in self.secrets]
        for folder in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    text = (folder / name).read_bytes()
                    if any(needle in text for needle in needles):
                        yield f"{name} of process {folder.name}"

    def _state_files(self) -> list[Path]:
        return [p for p in STATE.rglob(f"*{self.name}*") if p.is_file()] + [
            p
            for kind in ("history", "backups")
            for p in (STATE / kind / "litelab" / self.name).rglob("*")
            if p.is_file()
        ]


def _is_this_test(line: str) -> bool:
    """Whether a process only names the lab: a shell around the tests, or pytest."""
    return line.startswith("processes: ") and "pytest" in line


def _inside(text: str) -> Sequence[str]:
    """Pieces of the private keys in a text, none of which is anything else."""
    keys = re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+(.*?)-----END", text, re.DOTALL)
    lines = [line for key in keys for line in key.split()[-2:-1] if len(line) >= 40]
    lines += [word[200:260] for word in re.findall(r'client-key-data"?: ?"?([A-Za-z0-9+/=]+)', text)]
    return lines
