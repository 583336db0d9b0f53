"""A libvirtd of a test's own: in a network namespace and with folders of its own, so that nothing of the machine's is touched.

``python -m tests.libvirt.daemon FOLDER COMMAND...`` runs a command beside one, in its network namespace, with
``LITELAB_TEST_URI`` and ``LITELAB_TEST_URI_STORAGE`` set.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 60.0
STOP_S = 20.0
PREFIX = "lv-"
"""Of network namespaces, before the id of the process that made it."""
FOLDERS = ("/etc/libvirt", "/var/lib/libvirt", "/run/libvirt", "/var/cache/libvirt", "/var/log/libvirt")

CONF = {
    "libvirtd.conf": 'unix_sock_group = "root"\nunix_sock_rw_perms = "0700"\nauth_unix_ro = "none"\nauth_unix_rw = "none"\n',
    # No systemd, no security driver, no cgroups of its own, and no virtlogd: what a container without them can do.
    "qemu.conf": 'security_driver = "none"\nuser = "root"\ngroup = "root"\ndynamic_ownership = 0\nremember_owner = 0\n'
    'cgroup_controllers = []\nnamespaces = []\nstdio_handler = "file"\n',
}


@dataclass
class Daemon:
    """A running libvirtd, and how to reach it.

    Attributes:
        folder: where everything of it is.
        name: of its network namespace.
    """

    folder: Path
    name: str = field(default_factory=lambda: f"{PREFIX}{os.getpid()}")
    _process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """For the network namespace's programs, and for any that shares this machine's files."""
        return f"qemu+unix:///system?socket={self.folder}/run/libvirt-sock"

    @property
    def inside(self) -> list[str]:
        """What stands before a command that is to run where the guests' network is reached."""
        return ["ip", "netns", "exec", self.name]

    @property
    def images(self) -> Path:
        """Where pools may be."""
        return self.folder / "images"

    def __enter__(self) -> Self:
        clear_dead()
        self.images.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        for path in FOLDERS:
            (self.folder / _short(path)).mkdir(parents=True, exist_ok=True)
        for name, text in CONF.items():
            (self.folder / "etc" / name).write_text(text, encoding="utf-8")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        clear(self.name)

    def start(self) -> None:
        """Start it; again after ``stop``, with all that it knew."""
        mounts = "; ".join(f"mkdir -p {path}; mount --bind {self.folder / _short(path)} {path}" for path in FOLDERS)
        program = f"{mounts}; exec libvirtd -f {self.folder}/etc/libvirtd.conf -p {self.folder}/run/libvirtd.pid"
        with (self.folder / "libvirtd.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, "unshare", "--mount", "--propagation", "private", "sh", "-ec", program],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while self.virsh("version", check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                msg = f"libvirtd did not answer: {(self.folder / 'libvirtd.log').read_text(encoding='utf-8')[-2000:]}"
                raise RuntimeError(msg)
            time.sleep(0.2)

    def stop(self) -> None:
        """End libvirtd; its guests live on."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        (self.folder / "run" / "libvirt-sock").unlink(missing_ok=True)

    def run(self, command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
        """A program in its network namespace."""
        return subprocess.run([*self.inside, *command], text=True, **options)  # type: ignore[call-overload,no-any-return]

    def virsh(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One call of virsh, its output captured."""
        command = ["virsh", "--connect", self.uri, "--quiet", *words]
        return subprocess.run(command, capture_output=True, text=True, check=check, stdin=subprocess.DEVNULL)


def clear(name: str) -> None:
    """End all that runs in a network namespace, and take that away."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout
    for pid in pids.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], check=False)


def clear_dead() -> None:
    """Daemons and guests of runs that were killed: their namespaces are named after a process that is no more."""
    for path in Path("/run/netns").glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX)
        if pid.isdigit() and not Path("/proc", pid).exists():
            clear(path.name)
            shutil.rmtree(Path("/tmp") / f"litelab-libvirtd-{pid}", ignore_errors=True)


def _short(path: str) -> str:
    """``/etc/libvirt`` is ``etc`` in the daemon's folder, ``/var/lib/libvirt`` ``lib``."""
    return Path(path).parent.name


def main(arguments: list[str]) -> int:
    """Run a command beside a daemon."""
    if len(arguments) < 2:
        print("usage: python -m tests.libvirt.daemon FOLDER COMMAND...", file=sys.stderr)
        return 2
    with Daemon(Path(arguments[0]).resolve()) as daemon:
        os.environ["LITELAB_TEST_URI"] = daemon.uri
        os.environ["LITELAB_TEST_URI_STORAGE"] = str(daemon.images)
        return daemon.run(arguments[1:]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
