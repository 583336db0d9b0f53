"""A whole machine in QEMU, by KVM where that works, else emulated; ssh on this machine's loopback is the only way in."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from components.checks import kvm
from tests.machines.image import CHECKOUT, PATIENCE, USER, Disks

MEMORY_MIB = 7680
PROCESSORS = 2
BOOT_S = 60 * PATIENCE
COMMAND_S = 30 * PATIENCE


def is_fast() -> bool:
    """Whether machines run by KVM here."""
    return kvm.starts_a_guest()[0]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass
class Machine:
    """A running machine.

    Attributes:
        disks: what it boots from.
        folder: for its console and its connections.
    """

    disks: Disks
    folder: Path
    port: int = field(default_factory=_free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    def __enter__(self) -> Self:
        # Emulated: a large cache of translated code, since Kubernetes is large; four levels of paging; and no PCLMULQDQ, which this
        # QEMU computes bit by bit, so that programs encrypt in another way.
        how = ["-accel", "kvm", "-cpu", "host"]
        if not is_fast():
            how = ["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max,la57=off,-pclmulqdq"]
        command = ["qemu-system-x86_64", "-machine", "q35", *how, "-smp", str(PROCESSORS), "-m", str(MEMORY_MIB)]
        command += ["-kernel", str(self.disks.kernel), "-initrd", str(self.disks.initrd)]
        arguments = "root=/dev/vda rw console=ttyS0 mitigations=off tsc=reliable transparent_hugepage=never"
        # Debian 12's module takes PCLMULQDQ for granted where there is AES, and dies without it.
        command += ["-append", f"{arguments} modprobe.blacklist=aesni_intel"]
        for disk in (self.disks.root, self.disks.swap):
            command += ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe,discard=unmap"]
        command += [
            "-netdev",
            f"user,id=net0,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device",
            "virtio-net-pci,netdev=net0",
        ]
        command += [
            "-device",
            "virtio-rng-pci",
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            f"file:{self.console}",
        ]
        with (self.folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Turn it off; nothing on its disks is wanted any more."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ssh(self, command: str, timeout: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        """What the user's shell does with a command, in the checkout."""
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        options += [f"ConnectTimeout={3 * PATIENCE}", "ServerAliveInterval=30", "ServerAliveCountMax=20"]
        words = ["ssh", "-F", "/dev/null", "-i", str(self.disks.key), "-p", str(self.port)]
        words += [word for option in options for word in ("-o", option)]
        line = f"cd {CHECKOUT} && {command}"
        return subprocess.run(
            [*words, f"{USER}@127.0.0.1", f"bash -c {shlex.quote(line)}"],
            capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, command: str, timeout: float = COMMAND_S, code: int = 0) -> str:
        """What a command prints, whose exit code has to be this one."""
        began = time.monotonic()
        done = self.ssh(command, timeout)
        print(
            f"\n$ {command}    # {time.monotonic() - began:.0f} s, exit code {done.returncode}\n{done.stdout}{done.stderr}",
            flush=True,
        )
        assert done.returncode == code, (
            f"{command}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}\n{self.last_words()}"
        )
        return done.stdout

    def last_words(self) -> str:
        """How QEMU ended, if it has, and the end of what it and the console said."""
        state = (
            "runs" if self._process is None or self._process.poll() is None else f"ended: {self._process.returncode}"
        )
        logs = [(self.folder / "qemu.log"), self.console]
        ends = [path.read_text("utf-8", errors="replace")[-3000:] for path in logs if path.exists()]
        return "\n".join([f"QEMU {state}", *ends])

    def wait(self, boot: str = "") -> str:
        """Wait for a login on another boot than ``boot``, and return which boot it is."""
        deadline = time.monotonic() + BOOT_S
        last = ""
        while time.monotonic() < deadline:
            assert self._process is None or self._process.poll() is None, (self.folder / "qemu.log").read_text("utf-8")
            try:
                done = self.ssh("cat /proc/sys/kernel/random/boot_id", timeout=5 * PATIENCE)
            except subprocess.TimeoutExpired:
                last = "no answer"
                continue
            if done.returncode == 0 and done.stdout.strip() != boot:
                return done.stdout.strip()
            last = done.stderr.strip() or last
            time.sleep(1)
        console = self.console.read_text(encoding="utf-8", errors="replace")[-3000:]
        msg = f"no login within {BOOT_S} s. Last answer: {last}. The console ends:\n{console}"
        raise TimeoutError(msg)

    def reboot(self) -> None:
        """As a person would."""
        boot = self.run("cat /proc/sys/kernel/random/boot_id").strip()
        self.ssh("sudo systemctl reboot")
        self.wait(boot)
