"""Hosts without a lab on them: one program for every kind, driven by Pulumi's command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.lab.lab import PROJECT, environment

TIMEOUT_S = 600
PROGRAM = Path(__file__).parent / "program"


@dataclass
class HostsStack:
    """One stack of hosts, as ``hosts:`` of a lab's file describes them."""

    name: str
    settings: Mapping[str, Any]
    roles: Sequence[str] = ("controller", "worker", "worker")
    env: dict[str, str] = field(default_factory=lambda: {**environment(), "PYTHONPATH": str(PROJECT)})

    @cached_property
    def folder(self) -> Path:
        """A copy of the program, where a lab's relative paths lead to this checkout's run folder."""
        own = PROJECT / ".lab" / "contract"
        own.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=own))
        shutil.copytree(PROGRAM, folder, dirs_exist_ok=True)
        (folder / ".lab").symlink_to(PROJECT / ".lab")
        return folder

    @property
    def run_folder(self) -> Path:
        return PROJECT / ".lab" / "run" / self.name

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """What only this stack's nspawn hosts have on the machine is called by one of these."""
        lines = (self.run_folder / "lab.env").read_text().splitlines()
        names = dict(line.split("=", 1) for line in lines)
        return names["LAB_ID"], f"{names['PREFIX']}.", names["UPLINK"], f"{self.run_folder}/"

    def pulumi(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["pulumi", *arguments, "--stack", self.name, "--non-interactive"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done

    def prepare(self) -> None:
        """An empty stack with its settings; what a killed run left goes first."""
        self.remove()
        self.pulumi("stack", "init")
        self.configure(self.settings)

    def configure(self, settings: Mapping[str, Any]) -> None:
        for key, value in (("hosts", dict(settings)), ("roles", list(self.roles))):
            self.pulumi("config", "set", "--plaintext", f"litelab:{key}", json.dumps(value))

    def up(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.pulumi("up", "--yes", "--skip-preview", *options, check=check)

    def destroy(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.pulumi("destroy", "--yes", "--skip-preview", check=check)

    def remove(self) -> None:
        """Take the hosts and their stack away, if there are any."""
        state = PROJECT / ".lab" / "state" / ".pulumi" / "stacks" / "litelab" / f"{self.name}.json"
        if state.exists():
            self.pulumi("cancel", "--yes", check=False)
            self.destroy()
            self.pulumi("stack", "rm", "--yes")
        shutil.rmtree(self.run_folder, ignore_errors=True)

    def close(self) -> None:
        """``remove``, and the program's copy too."""
        self.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json", "--show-secrets").stdout)
        return outputs

    @cached_property
    def hosts(self) -> list[dict[str, Any]]:
        """As the program has them, each with the key by which ssh knows it, if that is not an authority's."""
        hosts: list[dict[str, Any]] = self.outputs()["hosts"]
        lines = (self.run_folder / "known_hosts").read_text().splitlines()
        known = {line.split()[0]: line.split(" ", 1)[1] for line in lines}
        return [{**h, "hostKey": known.get(h["name"], known.get(h["address"]))} for h in hosts]

    def ssh(
        self, host: str, command: str, *options: str, stdin: str = "", check: bool = True, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        words = ["ssh", "-F", str(self.run_folder / "ssh_config"), *options, host, command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, input=stdin)
        assert not check or done.returncode == 0, f"{host}: {command}: {done.stdout}{done.stderr}"
        return done

    def by_root(self, host: str, script: str, *, check: bool = True, timeout: float = 240) -> str:
        """What a script prints that root's shell runs on a host, as the lab's own steps come to be root."""
        sudo = next("" if h["user"] == "root" else "sudo -n " for h in self.hosts if h["name"] == host)
        return self.ssh(host, f"{sudo}bash -s", stdin=script, check=check, timeout=timeout).stdout
