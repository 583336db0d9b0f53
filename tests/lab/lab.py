"""A real lab, driven as a person drives one: Pulumi's command line, ssh, kubectl."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

PROJECT = Path(__file__).resolve().parents[2]
UP_TIMEOUT_S = 600

T = TypeVar("T")


def environment() -> dict[str, str]:
    """What ``. ./env.sh`` gives a shell."""
    shown = subprocess.run(
        ["bash", "-euc", '. "$0/env.sh"; env -0', str(PROJECT)], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    return dict(line.split("=", 1) for line in shown.split("\0") if "=" in line)


def wait_for(what: str, seconds: float, look: Callable[[], T | None]) -> T:
    """Poll until there is an answer.

    Raises:
        TimeoutError: naming what was waited for.
    """
    deadline = time.monotonic() + seconds
    while (answer := look()) is None or answer is False:
        if time.monotonic() > deadline:
            msg = f"waited {seconds} s for {what}"
            raise TimeoutError(msg)
        time.sleep(0.1)
    return answer


@dataclass
class LabStack:
    """One stack of a lab with settings of its own."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=environment)
    lab: str = "upstream-lab"

    @property
    def run_folder(self) -> Path:
        return PROJECT / ".lab" / "run" / self.name

    @property
    def results_folder(self) -> Path:
        return PROJECT / ".lab" / "results" / self.name

    @cached_property
    def names(self) -> dict[str, str]:
        """What the lab recorded of itself: ``LAB_ID``, ``PREFIX``, ``UPLINK``."""
        lines = (self.run_folder / "lab.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def namespace(self) -> str:
        return f"litelab-{self.names['LAB_ID']}"

    @property
    def record(self) -> Path:
        return Path("/run/litelab/labs") / self.names["LAB_ID"]

    # Pulumi

    def pulumi(
        self, *arguments: str, check: bool = True, timeout: float = UP_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        command = ["pulumi", *arguments, "--stack", self.name, "--non-interactive"]
        done = subprocess.run(
            command,
            cwd=PROJECT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done

    def start_up(self) -> subprocess.Popen[str]:
        """``pulumi up`` in a process group of its own, as a shell starts it."""
        command = ["pulumi", "up", "--yes", "--skip-preview", "--stack", self.name, "--non-interactive"]
        return subprocess.Popen(
            command, cwd=PROJECT, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, process_group=0,
        )  # fmt: skip

    def prepare(self) -> None:
        """An empty stack with its settings; what a killed run left goes first."""
        self.remove()
        self.pulumi("stack", "init")
        words = [w for key, value in self.settings.items() for w in ("--plaintext", f"litelab:{key}={value}")]
        self.pulumi("config", "set-all", "--path", "--plaintext", f"litelab:lab={self.lab}", *words)

    def remove(self) -> None:
        """Destroy the lab and its stack, if there is any."""
        state = PROJECT / ".lab" / "state" / ".pulumi" / "stacks" / "litelab" / f"{self.name}.json"
        if state.exists():
            self.pulumi("cancel", "--yes", check=False)
            self.pulumi("destroy", "--yes", "--skip-preview")
            self.pulumi("stack", "rm", "--yes")
        for folder in (self.run_folder, self.results_folder):
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def standing(self, timeout_s: float = UP_TIMEOUT_S) -> Iterator[LabStack]:
        """The lab, up; it goes with its stack when the block ends."""
        try:
            self.prepare()
            self.pulumi("up", "--yes", "--skip-preview", timeout=timeout_s)
            yield self
        finally:
            self.remove()

    def outputs(self, *, secrets: bool = False) -> dict[str, Any]:
        arguments = ["stack", "output", "--json", *(["--show-secrets"] if secrets else [])]
        outputs: dict[str, Any] = json.loads(self.pulumi(*arguments).stdout)
        return outputs

    # Hosts

    def ssh(
        self, host: str, command: str, *options: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        words = ["ssh", "-F", str(self.run_folder / "ssh_config"), *options, host, command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{host}: {command}: {done.stdout}{done.stderr}"
        return done

    def on_each(self, command: str) -> dict[str, str]:
        return {host["name"]: self.ssh(host["name"], command).stdout.strip() for host in self.hosts}

    @cached_property
    def hosts(self) -> list[dict[str, str]]:
        hosts: list[dict[str, str]] = self.outputs()["hosts"]
        return hosts

    def machine_ids(self) -> dict[str, str]:
        """Process of each host's machine: the same only while nobody made the host anew."""
        return {path.stem: path.read_text().strip() for path in self.record.glob("host-*.pid")}

    def machine_process(self, host: str) -> int:
        """systemd-nspawn's own process, which is in the host's cgroups."""
        pid = int(self.machine_ids()[host])
        if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd-nspawn":
            return pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    # Cluster

    @property
    def kubeconfig(self) -> Path:
        return self.run_folder / "kubeconfig"

    @property
    def kubectl_binary(self) -> Path:
        """The multi-call binary; its name in argv says what it is."""
        return Path(self.env["LITELAB_CACHE"]) / "artifacts/upstream/bin/kubernetes"

    def start_kubectl(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments],
            executable=self.kubectl_binary, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=self.env,
        )  # fmt: skip

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """``kubectl`` from the operator's shell."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments],
            executable=self.kubectl_binary, input=stdin, capture_output=True, text=True, timeout=timeout, env=self.env,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: the terminal's signal to the foreground process group."""
    os.killpg(process.pid, signal.SIGINT)


def finish(process: subprocess.Popen[str], timeout: float = UP_TIMEOUT_S) -> str:
    """Wait for a process; its output, its end by force when it does not come."""
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
