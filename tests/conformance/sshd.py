"""A private ssh server on loopback with keys of its own."""

import getpass
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.stack import wait_for


@dataclass
class Sshd:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    port: int
    host_key: str
    private_key: str

    def connection(self, **changes: Any) -> dict[str, Any]:
        """Describe a connection to it."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "private_key": self.private_key,
            "host_key": self.host_key,
            "dial_error_limit": 3,
        } | changes

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)


def binary() -> str | None:
    """Find the server: it lies outside of most users' PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return os.environ.get("LITELAB_SSHD") or shutil.which("sshd", path=path)


def make_key(file: Path, password: str = "") -> tuple[str, str]:
    """Make a key pair and return its private and public half."""
    subprocess.run(
        [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            password,
            "-C",
            "",
            "-f",
            str(file),
        ],
        check=True,
    )
    return file.read_text(), file.with_suffix(".pub").read_text().strip()


def start(folder: Path, program: str) -> Sshd | None:
    """Start a server; None if this machine cannot run one."""
    _, host_key = make_key(folder / "host")
    private_key, public_key = make_key(folder / "user")
    (folder / "authorized_keys").write_text(public_key + "\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\n"
        f"PidFile {folder / 'sshd.pid'}\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "UsePAM no\n"
        "StrictModes no\n"
        "AcceptEnv ACCEPTED PULUMI_COMMAND_*\n"
        "Subsystem sftp internal-sftp\n"
    )
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(config)], stdout=log, stderr=log)
    if wait_for(lambda: process.poll() is not None or _listens(port), 10) and _listens(port):
        return Sshd(process, port, host_key, private_key)
    process.kill()
    process.wait()
    return None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
