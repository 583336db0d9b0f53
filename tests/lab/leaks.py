"""What a lab must keep to itself, and a search for it in any form in which it could get out."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import subprocess
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.lab import PROJECT, LabStack

WINDOW = 48
"""Characters of a secret that are searched for at a time; no text holds so many of them by chance."""
SIGNATURE = "4dabf18193072939515e22adb298388d"
"""How Pulumi marks a secret in an exported state."""
PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----(.*?)-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


class Secret(NamedTuple):
    """Something that nobody else may read.

    Attributes:
        kind: what it is, such as ``OPENSSH PRIVATE KEY``.
        text: the part of it that no other secret has and that nothing public tells.
    """

    kind: str
    text: str


def secrets_of(lab: LabStack) -> set[Secret]:
    """Every private key of the lab, the archives that carry them to hosts, and the passphrase of its state."""
    found = {Secret("passphrase", (PROJECT / ".lab" / "passphrase").read_text().strip())}
    state = json.loads(lab.pulumi("stack", "export", "--show-secrets").stdout)
    for text in _texts(state, inside=False):
        # In JSON inside of JSON, newlines are still escaped.
        found |= _keys(text.replace("\\n", "\n"))
    for path in (
        lab.run_folder / "id_ed25519",
        *lab.run_folder.glob("hosts/host-*/upper/etc/ssh/ssh_host_ed25519_key"),
    ):
        found |= _keys(path.read_text())
    return found


def _texts(value: Any, *, inside: bool) -> Iterator[str]:
    """Every text below a secret; JSON in a text is read too."""
    if isinstance(value, dict):
        if SIGNATURE in value:
            yield from _texts(json.loads(value["plaintext"]), inside=True)
        else:
            for part in value.values():
                yield from _texts(part, inside=inside)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, inside=inside)
    elif isinstance(value, str) and inside:
        yield value
        if value.lstrip().startswith("{"):
            yield from _texts(json.loads(value), inside=True)


def _keys(text: str) -> set[Secret]:
    found = {Secret(kind, _private_part(kind, body.split())) for kind, body in PRIVATE_KEY.findall(text)}
    for data in re.findall(r'"client-key-data": "([^"]+)"', text):
        found |= _keys(base64.b64decode(data).decode())
    # The archive of a host's files: the last line of a step's input.
    for line in text.splitlines():
        if line.startswith("H4sI"):
            found.add(Secret("archive", line))
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(base64.b64decode(line)))) as tar:
                for entry in tar:
                    content = tar.extractfile(entry)
                    found |= _keys(content.read().decode()) if content else set()
    return found


def _private_part(kind: str, lines: list[str]) -> str:
    """A key without what all keys of its kind begin with, and without its public half, which certificates show to everybody."""
    if kind == "PRIVATE KEY":
        # PKCS #8 of P-256: 36 bytes that are always the same, then the private number until the middle of the second line.
        return lines[0][16:]
    return "\n".join(lines[1:])


def needles(secrets: Iterable[Secret]) -> list[str]:
    """Pieces of each secret, as it is and in base64 at each offset; what two secrets have in common tells of neither."""
    pieces: Counter[str] = Counter()
    for _, text in secrets:
        own = set(_windows(text))
        for offset in range(3):
            # Its first and last characters depend on its neighbours.
            own |= set(_windows(base64.b64encode(b" " * offset + text.encode()).decode()[4:-4]))
        pieces.update(own)
    return sorted(piece for piece, count in pieces.items() if count == 1)


def _windows(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if len(line) < WINDOW:
            # A short line of a key says nothing alone; a short secret is all there is to search.
            if line == text and line:
                yield line
            continue
        for start in (*range(0, len(line) - WINDOW, WINDOW), len(line) - WINDOW):
            yield line[start : start + WINDOW]


def search(secrets: Iterable[Secret], places: Iterable[Path]) -> set[Path]:
    """The files, at or below the places, that hold a piece of a secret."""
    with tempfile.NamedTemporaryFile("w", dir="/dev/shm") as patterns:
        patterns.write("".join(f"{piece}\n" for piece in needles(secrets)))
        patterns.flush()
        command = ["grep", "-rlaF", "-D", "skip", "-f", patterns.name, "--", *map(str, places)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env={**os.environ, "LC_ALL": "C"}
        )  # fmt: skip
    # A file that went away while it was searched is no error.
    assert done.returncode in (0, 1) or "No such file" in done.stderr, done.stderr[-2000:]
    return {Path(line) for line in done.stdout.splitlines()} - {Path(patterns.name)}


class Processes(threading.Thread):
    """Samples the command line and the environment of every process of the machine, hosts' own included."""

    LOOKS = 4
    """How often each process is looked at: one that is just born still shows its parent's words."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="process lists")
        self.command_lines: set[bytes] = set()
        self.environments: set[bytes] = set()
        self._looks: Counter[str] = Counter()
        self._stop_asked = threading.Event()

    def run(self) -> None:
        while not self._stop_asked.wait(0.01):
            there = {entry.name for entry in os.scandir("/proc") if entry.name.isdigit()}
            # Ids come round again: another process may have that of one that is gone.
            self._looks = Counter({pid: count for pid, count in self._looks.items() if pid in there})
            for pid in there:
                if self._looks[pid] < self.LOOKS:
                    self._look(pid)

    def _look(self, pid: str) -> None:
        try:
            self.command_lines.add(Path("/proc", pid, "cmdline").read_bytes())
            self.environments.add(Path("/proc", pid, "environ").read_bytes())
        except OSError:
            return
        self._looks[pid] += 1

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(10)

    def write(self, folder: Path) -> None:
        for name, found in (("command-lines", self.command_lines), ("environments", self.environments)):
            (folder / name).write_bytes(b"\n".join(sorted(found)).replace(b"\0", b"\n"))
