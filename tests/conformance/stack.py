"""Drive one Pulumi stack of the conformance program through the CLI."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PASSPHRASE = "conformance"
LIMIT_S = 60


def local(name: str, *, opts: dict[str, Any] | None = None, **args: Any) -> dict[str, Any]:
    """Describe a local.Command."""
    return {"kind": "local", "name": name, "args": args, "opts": opts or {}}


def remote(name: str, *, opts: dict[str, Any] | None = None, **args: Any) -> dict[str, Any]:
    """Describe a remote.Command."""
    return {"kind": "remote", "name": name, "args": args, "opts": opts or {}}


def copy(name: str, *, opts: dict[str, Any] | None = None, **args: Any) -> dict[str, Any]:
    """Describe a remote.CopyToRemote."""
    return {"kind": "copy", "name": name, "args": args, "opts": opts or {}}


class Stack:
    """A stack with a backend of its own, in one folder."""

    def __init__(self, folder: Path, path: str) -> None:
        """Use the folder made by ``create``; ``path`` names the programs."""
        self.folder = folder
        self.env = {
            **os.environ,
            "PATH": path,
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def pulumi(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run pulumi to its end and give back what it printed."""
        return subprocess.run(
            ["pulumi", *args, "--non-interactive"],
            cwd=self.folder / "program",
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def start(self, *args: str, **env: str) -> "subprocess.Popen[bytes]":
        """Start pulumi and do not wait for it; its output goes to a file."""
        with (self.folder / "started.log").open("wb") as log:
            return subprocess.Popen(
                ["pulumi", *args, "--non-interactive"],
                cwd=self.folder / "program",
                env=self.env | env,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start_up(self, *resources: dict[str, Any]) -> "subprocess.Popen[bytes]":
        """Start an update and do not wait for it."""
        return self.start("up", "--yes", "--skip-preview", RESOURCES=self._write(resources))

    def up(self, *resources: dict[str, Any], **env: str) -> str:
        """Update the stack, which must succeed."""
        done = self.try_up(*resources, **env)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def try_up(self, *resources: dict[str, Any], **env: str) -> subprocess.CompletedProcess[str]:
        """Update the stack, which may fail."""
        return self.pulumi("up", "--yes", "--skip-preview", RESOURCES=self._write(resources), **env)

    def _write(self, resources: tuple[dict[str, Any], ...]) -> str:
        """Hand the resources over in a file: they may not fit the environment."""
        file = self.folder / "resources.json"
        file.write_text(json.dumps(resources))
        return str(file)

    def preview(self, *resources: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Preview an update."""
        return self.pulumi("preview", "--diff", RESOURCES=self._write(resources))

    def destroy(self) -> str:
        """Destroy the stack, which must succeed."""
        done = self.pulumi("destroy", "--yes", "--skip-preview")
        assert done.returncode == 0, done.stdout
        return done.stdout

    def state(self) -> str:
        """Return the state as it lies on the disk."""
        return next((self.folder / "state").rglob("stacks/**/test.json")).read_text()

    def resource(self, name: str) -> dict[str, Any]:
        """Return one resource of the state."""
        resources = json.loads(self.state())["checkpoint"]["latest"]["resources"]
        found: dict[str, Any] = next(r for r in resources if r["urn"].endswith(f"::{name}"))
        return found

    def printed(self, name: str) -> Any:
        """Return the stdout of a resource as the state keeps it."""
        return self.resource(name)["outputs"]["stdout"]


def children(parent: int, name: str) -> list[int]:
    """Return the children of a process whose name starts so (the kernel keeps 15 characters)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = stat.read_text().split(" (", 1)
        except OSError:
            continue  # it ended while we looked
        comm, fields = rest.rsplit(") ", 1)
        if comm.startswith(name[:15]) and int(fields.split()[1]) == parent:
            found.append(int(pid))
    return found


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits for its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(") ", 1)[1].split()[0] not in "ZX"


def wait_for(condition: Callable[[], bool], limit_s: float) -> bool:
    """Wait until the condition holds; tell whether it did in time."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Sleeper:
    """A command that sleeps in a child of its own and tells who it is."""

    def __init__(self, folder: Path) -> None:
        """Keep the process numbers in the folder."""
        self.file = folder / "pids"
        self.script = f"echo $$ > {self.file}; sleep 300 & echo $! >> {self.file}; wait"
        # Deaf to TERM, and so are its children.
        self.deaf_script = f"trap '' TERM; {self.script}"

    def pids(self) -> list[int]:
        """Wait until the command runs and return its processes."""
        assert wait_for(lambda: len(self._read()) == 2, 20), "the command did not start"
        return self._read()

    def gone_in(self, limit_s: float) -> bool:
        """Tell whether every process of the command ends in time."""
        pids = self._read()
        assert len(pids) == 2, "the command did not start"
        gone = wait_for(lambda: not any(alive(pid) for pid in pids), limit_s)
        for pid in pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)  # leave nothing behind, even if we fail
        return gone

    def _read(self) -> list[int]:
        try:
            return [int(line) for line in self.file.read_text().split()]
        except FileNotFoundError:
            return []
