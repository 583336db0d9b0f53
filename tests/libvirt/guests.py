"""Stacks of guests alone, driven by Pulumi's command line beside a libvirtd of the tests' own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.lab import PROJECT, LabStack, environment, wait_for
from tests.libvirt.daemon import Daemon
from tests.libvirt.remote import Remote

UP_S = 1800
"""Emulated guests on a busy machine."""
STEP_S = 180


def forget(stack: Guests | LabStack) -> None:
    """What a killed run of the tests left; its libvirtd went with it, so there is nothing to destroy."""
    if (PROJECT / ".lab/state/.pulumi/stacks/litelab" / f"{stack.name}.json").exists():
        stack.pulumi("cancel", "--yes", check=False)
        stack.pulumi("stack", "rm", "--force", "--yes")
    shutil.rmtree(stack.run_folder, ignore_errors=True)
    for record in Path("/run/litelab-libvirt").glob(f"litelab-{stack.name}-*"):
        record.unlink()


@dataclass
class Guests:
    """One stack of ``tests/libvirt/program``.

    Attributes:
        name: the stack's.
        daemon: where its guests are.
        hosts: settings beside kind, address of libvirt, storage and accelerator.
        workers: guests beside the first.
    """

    name: str
    daemon: Daemon | Remote
    hosts: dict[str, Any] = field(default_factory=dict)
    workers: int = 0
    env: dict[str, str] = field(default_factory=environment)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="program-"))
        shutil.copytree(PROJECT / "tests/libvirt/program", self.folder, dirs_exist_ok=True)
        (self.folder / ".lab").symlink_to(PROJECT / ".lab")
        self.env["PYTHONPATH"] = str(PROJECT)
        forget(self)
        self.pulumi("stack", "select", "--create")
        self.configure()

    @property
    def run_folder(self) -> Path:
        return PROJECT / ".lab" / "run" / self.name

    def configure(self, **hosts: Any) -> None:
        """Set settings, from the next ``up`` on."""
        self.hosts.update(hosts)
        all_of_them = {
            "kind": "libvirt",
            "accelerator": "tcg",
            "cpus": 1,
            "memoryMib": 1024,
            "uri": self.daemon.uri,
            "storage": str(self.daemon.images),
            **self.hosts,
        }
        self.pulumi("config", "set", "litelab:hosts", json.dumps(all_of_them))
        self.pulumi("config", "set", "litelab:workers", str(self.workers))

    def command(self, *words: str) -> list[str]:
        return [*self.daemon.inside, "pulumi", *words, "--stack", self.name, "--non-interactive"]

    def pulumi(self, *words: str, check: bool = True, timeout: float = STEP_S) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}:\n{done.stdout[-5000:]}\n{done.stderr[-3000:]}"
        return done

    def up(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.pulumi("up", "--yes", "--skip-preview", check=check, timeout=UP_S)

    def refused(self) -> str:
        """What an ``up`` says that has to fail."""
        done = self.up(check=False)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def start_up(self) -> subprocess.Popen[str]:
        """``up`` in a group of its own, to be stopped on its way."""
        return subprocess.Popen(
            self.command("up", "--yes", "--skip-preview"), cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0,
        )  # fmt: skip

    def destroy(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.pulumi("destroy", "--yes", "--skip-preview", check=check)

    def remove(self) -> None:
        """All of it, also after a killed run."""
        self.pulumi("cancel", "--yes", check=False)
        self.pulumi("refresh", "--yes", "--skip-preview", "--clear-pending-creates", check=False)
        self.destroy()
        self.pulumi("stack", "rm", "--yes")
        shutil.rmtree(self.folder)
        shutil.rmtree(self.run_folder, ignore_errors=True)

    def wait_for_guest(self, process: subprocess.Popen[str]) -> str:
        """The name of the first guest that runs, while an ``up`` is on its way."""

        def look() -> str | None:
            assert process.poll() is None, process.communicate()[0]
            return next(iter(self.daemon.virsh("list", "--name", check=False).stdout.split()), None)

        return wait_for("a running guest", STEP_S, look)

    def ssh(self, host: str, command: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        words = ["ssh", "-F", str(self.run_folder / "ssh_config"), *options, host, command]
        return self.daemon.run(words, capture_output=True, timeout=STEP_S, check=check, stdin=subprocess.DEVNULL)

    def make_pulumi_forget(self, kind: str = "") -> None:
        """Take resources whose type begins so out of the state: as if Pulumi had died before they were in it."""
        state = self.state()
        kept = [r for r in state["deployment"].get("resources", []) if not r["type"].startswith(kind)]
        state["deployment"].update(resources=kept, pending_operations=[])
        command = ["pulumi", "stack", "import", "--stack", self.name]
        self.daemon.run(
            command,
            input=json.dumps(state),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            check=True,
            timeout=STEP_S,
        )

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.pulumi("stack", "export").stdout)
        return found


def end(process: subprocess.Popen[str], how: signal.Signals) -> str:
    """Send a signal to Pulumi alone, and return what it has said when it is gone."""
    os.kill(process.pid, how)
    said, _ = process.communicate(timeout=STEP_S)
    return said


def blank_disk(folder: Path) -> dict[str, str]:
    """An image that boots nothing, so that a guest of it runs and never answers."""
    path = folder / "blank.raw"
    path.write_bytes(b"\0" * 2**20)
    return {"source": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def left_in(daemon: Daemon | Remote) -> dict[str, list[str]]:
    """Everything that libvirt and its storage know."""
    listings = {"guests": ("list", "--all", "--name"), "networks": ("net-list", "--all", "--name")}
    listings["pools"] = ("pool-list", "--all", "--name")
    found = {what: daemon.virsh(*words).stdout.split() for what, words in listings.items()}
    return {**found, "files": [str(p) for p in daemon.images.rglob("*")]}


NOTHING: dict[str, list[str]] = {"guests": [], "networks": [], "pools": [], "files": []}
