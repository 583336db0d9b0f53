"""A host made by the scripts of ``nspawn`` alone: no Pulumi, no state."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.steps.scripts import scripts_of
from tests.lab.lab import environment

NSPAWN = scripts_of("nspawn")
STEPS = (("keys.sh", ""), ("network.sh", ""), ("host.sh", "host-1"))


@dataclass
class Bare:
    """A lab of one host without a Pulumi state.

    Attributes:
        run: its run folder.
        env: what the scripts get beside the settings of the host.
    """

    run: Path
    env: Mapping[str, str] = field(default_factory=environment)

    def step(self, script: str, verb: str, *words: str, check: bool = True) -> None:
        own = {"LITELAB_RUN": str(self.run), "ADDRESS": "11", "CPUS": "1", "MEMORY_MIB": "1024", "SSH_TIMEOUT_S": "120"}
        done = subprocess.run(
            [NSPAWN / script, verb, *(w for w in words if w)], env={**self.env, **own},
            capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{script} {verb}: {done.stderr}"

    def create(self) -> None:
        self.run.mkdir(parents=True)
        for script, word in STEPS:
            self.step(script, "create", word)

    def destroy(self, run: Path | None = None) -> None:
        self.run = run or self.run
        for script, word in reversed(STEPS):
            self.step(script, "delete", word)
        subprocess.run([NSPAWN / "leftovers.sh", self.run], env=self.env, check=True, timeout=200)

    def clear(self) -> None:
        """``destroy``, whatever of it fails."""
        for script, word in reversed(STEPS):
            self.step(script, "delete", word, check=False)
        subprocess.run([NSPAWN / "leftovers.sh", self.run], check=False, timeout=200)

    @property
    def id(self) -> str:
        (record,) = Path("/run/litelab/labs").glob(f"{self.run.name}-*")
        return record.name

    @property
    def record(self) -> dict[str, str]:
        """How ssh reaches the host: ``Address``, ``HostKey`` and so on."""
        lines = (self.run / "ssh" / "host-1").read_text().splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def by_root(self, script: str, *, timeout: float = 60) -> str:
        """What a script prints that root's bash runs on the host, whatever its sshd and its logins are by now."""
        (pid,) = self._first_process()
        words = ["nsenter", "-t", pid, "-m", "-u", "-i", "-n", "-p", "bash", "--norc", "-euo", "pipefail", "-s"]
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        done = subprocess.run(words, input=script, capture_output=True, text=True, timeout=timeout, env=env)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout

    def _first_process(self) -> list[str]:
        """The host's own process 1, by this machine's number."""
        nspawn = Path(f"/run/litelab/labs/{self.id}/host-1.pid").read_text().strip()
        found = [nspawn]
        while Path(f"/proc/{found[-1]}/comm").read_text().strip() != "systemd":
            found += Path(f"/proc/{found[-1]}/task/{found[-1]}/children").read_text().split()[:1]
        return found[-1:]


def published(run: Path, *folders: str) -> Path:
    """A copy of these folders of scripts in a run folder, as a lab has it; the last one names it."""
    copy = run / f"{folders[-1]}-0"
    for folder in folders:
        shutil.copytree(scripts_of(folder), copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return copy
