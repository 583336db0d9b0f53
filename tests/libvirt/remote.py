"""A libvirtd on a machine that is reached by ssh alone: the tests' libvirtd with an ssh server beside it.

The operator has a network namespace with one link, to that machine, and a mount namespace whose ``~/.ssh`` is the tests'
own: OpenSSH takes its folder from the user's entry in passwd, whatever HOME says.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.lab import PROJECT
from tests.libvirt.daemon import Daemon, clear
from tests.libvirt.keys import make_key

PREFIX = "lvo-"
"""Of the operator's network namespaces, before the id of the process that made it."""
OPERATOR, MACHINE = "198.51.100.1", "198.51.100.2"
"""Of the link between them: addresses of documentation."""
START_S = 30.0
HOME = Path(pwd.getpwuid(os.geteuid()).pw_dir)


class Remote:
    """The machine, as the operator reaches it.

    Attributes:
        folder: keys, the operator's ``~/.ssh`` and the server's log.
        ssh: the operator's ``~/.ssh``.
        host_key: the machine's, public.
    """

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon, self.folder = daemon, folder
        self.name = f"{PREFIX}{os.getpid()}"
        self.ssh = folder / "ssh"
        self._server: subprocess.Popen[bytes] | None = None
        self._made_home = False

    @property
    def uri(self) -> str:
        """For the operator's programs."""
        return f"qemu+ssh://root@{MACHINE}/system?keyfile={self.folder}/client"

    @property
    def images(self) -> Path:
        """Where pools may be."""
        return self.daemon.images

    @property
    def inside(self) -> list[str]:
        """What stands before a command of the operator's."""
        own = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
        return [
            *("ip", "netns", "exec", self.name, "unshare", "--mount", "--propagation", "private"),
            *("sh", "-ec", own, "sh", str(self.ssh), str(HOME / ".ssh")),
        ]

    def __enter__(self) -> Self:
        clear_dead()
        self.ssh.mkdir(mode=0o700)
        _, self.host_key = make_key(self.folder / "host")
        _, client = make_key(self.folder / "client")
        (self.folder / "authorized_keys").write_text(f"{client}\n")
        self.know(self.host_key)
        if not (HOME / ".ssh").exists():
            (HOME / ".ssh").mkdir(mode=0o700)
            self._made_home = True
        for words in (
            ("netns", "add", self.name),
            ("-n", self.name, "link", "set", "lo", "up"),
            (
                "-n",
                self.name,
                "link",
                "add",
                "machine",
                "type",
                "veth",
                "peer",
                "name",
                "operator",
                "netns",
                self.daemon.name,
            ),
            ("-n", self.name, "addr", "add", f"{OPERATOR}/30", "dev", "machine"),
            ("-n", self.name, "link", "set", "machine", "up"),
            ("-n", self.daemon.name, "addr", "add", f"{MACHINE}/30", "dev", "operator"),
            ("-n", self.daemon.name, "link", "set", "operator", "up"),
        ):
            subprocess.run(["ip", *words], check=True)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        # With it goes the link, and whatever a failed test has left running there.
        clear(self.name)
        if self._made_home:
            (HOME / ".ssh").rmdir()

    def know(self, *keys: str) -> None:
        """What the operator's known_hosts has of the machine."""
        (self.ssh / "known_hosts").write_text("".join(f"{MACHINE} {' '.join(key.split()[:2])}\n" for key in keys))

    def start(self) -> None:
        """Start the machine's ssh server. What logs in there finds libvirt's socket where every machine has it."""
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress {MACHINE}\nHostKey {self.folder}/host\nAuthorizedKeysFile {self.folder}/authorized_keys\n"
            f"PidFile {self.folder}/sshd.pid\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n"
        )
        program = PROJECT / "tests/sshd-of-root-image.sh"
        with (self.folder / "sshd.log").open("ab") as log:
            self._server = subprocess.Popen(
                [*self.daemon.inside, str(program), "-D", "-e", "-f", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, "LITELAB_SSHD_BIND": f"{self.daemon.folder}/run:/run/libvirt"}, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while self.run(["ssh", *self.login, "true"], capture_output=True).returncode != 0:
            assert time.monotonic() < deadline, (self.folder / "sshd.log").read_text(errors="replace")[-2000:]
            time.sleep(0.2)

    @property
    def login(self) -> list[str]:
        """How the operator logs in there."""
        return ["-o", "BatchMode=yes", "-i", f"{self.folder}/client", f"root@{MACHINE}"]

    def stop(self) -> None:
        """End the ssh server, and every connection to it."""
        if self._server is None:
            return
        pids = subprocess.run(
            ["pgrep", "-s", str(self._server.pid)], capture_output=True, text=True, check=False
        ).stdout
        subprocess.run(["kill", *pids.split()], check=False, capture_output=True)
        self._server.wait(START_S)
        self._server = None

    def run(self, command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
        """A program of the operator's."""
        return subprocess.run([*self.inside, *command], text=True, **options)  # type: ignore[call-overload,no-any-return]

    def virsh(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One call of virsh, on the machine itself."""
        return self.daemon.virsh(*words, check=check)

    def processes(self) -> list[str]:
        """Command lines of all that runs where the operator is."""
        pids = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True).stdout
        lines = [Path("/proc", pid, "cmdline") for pid in pids.split()]
        return [path.read_bytes().replace(b"\0", b" ").decode() for path in lines if path.exists()]


def clear_dead() -> None:
    """Operators of runs that were killed: their namespaces are named after a process that is no more."""
    for path in Path("/run/netns").glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX)
        if pid.isdigit() and not Path("/proc", pid).exists():
            clear(path.name)
