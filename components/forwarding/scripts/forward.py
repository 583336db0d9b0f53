#!/usr/bin/env python3
"""Ways to a lab's hosts through another machine: OpenSSH's local forwards, a process each, noted in the run folder.

``forward.py try THROUGH``: whether the machine lets the operator in. ``reopen RUN``: opens what is noted there and does
not run, on the ports that it had. ``close RUN``: ends all of a lab's. ``orphans [--remove LAB...]``: those of labs that no
Pulumi state knows.

THROUGH is ``ssh://[USER@]MACHINE[:PORT][?keyfile=FILE]``, or ``lab://HOST`` for a host of the lab itself, which the lab's own ssh
configuration reaches. For other machines keys, agent, jumps and known hosts are the operator's own, by
OpenSSH's configuration; nothing is asked, and no key of the machine is taken that is not known already.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

LOOPBACK = "127.0.0.1"
MARK = "LITELAB_FORWARD"
"""In the environment of each process: the file that it is written down in."""
PORTS = range(20000, 30000)
"""Below those that kernels give to connections, and that Kubernetes gives to services."""
OPEN_S = 60.0
TRIES = 3
END_S = 5.0
TOGETHER = 8
"""How many are opened at once: sshd turns away at ten that have not logged in."""
OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
    "LogLevel": "INFO",
    # A connection that the operator shares would keep the forward when its process ends.
    "ControlMaster": "no",
    "ControlPath": "none",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}
AGAIN = re.compile(r"kex_exchange_identification|Connection reset|Connection closed by")
"""What a server says that has too many logins at once."""


class ForwardError(Exception):
    """A way can't be opened; one paragraph with the fix."""


@dataclass(frozen=True)
class PortForward:
    """One forward.

    Attributes:
        through: the machine, as THROUGH above.
        target: ``ADDRESS:PORT`` as that machine reaches it.
        port: of this machine's loopback address, kept as long as the host is there.
        pid: of the process, 0 before it is started.
        started: when, in the kernel's ticks: another process may have the pid one day.
    """

    through: str
    target: str
    port: int
    pid: int = 0
    started: str = ""


def login(through: str) -> list[str]:
    """The beginning of an ssh command to the machine; what it shall do, ``--`` and the machine come after."""
    parts = urllib.parse.urlsplit(through)
    words = ["ssh"]
    for key, value in OPTIONS.items():
        words += ["-o", f"{key}={value}"]
    return [*words, *_who(parts)]


def _who(parts: urllib.parse.SplitResult) -> list[str]:
    words = []
    if parts.username:
        words += ["-l", urllib.parse.unquote(parts.username)]
    if parts.port:
        words += ["-p", str(parts.port)]
    for keyfile in urllib.parse.parse_qs(parts.query).get("keyfile", []):
        words += ["-i", keyfile]
    return words


def machine(through: str) -> str:
    """Its name, as the operator's ssh configuration may know it."""
    return urllib.parse.urlsplit(through).hostname or ""


def command(run: Path, way: PortForward) -> list[str]:
    """What keeps a way open."""
    forward = f"{LOOPBACK}:{way.port}:{way.target}"
    own = ["-F", str(run / "ssh_config")] if way.through.startswith("lab://") else []
    return [
        *login(way.through),
        *own,
        "-N",
        "-o",
        "ExitOnForwardFailure=yes",
        "-L",
        forward,
        "--",
        machine(way.through),
    ]


def by_hand(through: str) -> str:
    """What a person types to log in to the machine."""
    parts = urllib.parse.urlsplit(through)
    who = f"{urllib.parse.unquote(parts.username)}@" if parts.username else ""
    return shlex.join(
        ["ssh", *_who(parts._replace(netloc=parts.netloc.rpartition("@")[2])), f"{who}{machine(through)}"]
    )


def explain(through: str, said: str, stack: str = "") -> str:
    """Why ssh did not get in, by its own words, and what helps; one paragraph. A machine that is a host of a lab has its stack."""
    if through.startswith("lab://"):
        words = " ".join(said.split())[-300:].strip().rstrip(".") or "without a word"
        return f"{machine(through)}, through which the API server is reached, is not reached by ssh ({words}). 'make ssh STACK={stack} HOST={machine(through)}' must log in. Then run the same command again."
    name, hand = machine(through), by_hand(through)
    port = urllib.parse.urlsplit(through).port
    words = " ".join(said.split())[-300:].strip().rstrip(".") or "without a word"
    again = "Then run the same command again."
    if "IDENTIFICATION HAS CHANGED" in said or re.search(r"[Hh]ost key for \S+ has changed", said):
        known = shlex.quote(f"[{name}]:{port}" if port and port != 22 else name)
        return (
            f"{name} shows another ssh host key than the one that is known of it, and nothing was sent to it. Find out why: another machine may "
            f"answer in its place. If it was reinstalled, 'ssh-keygen -R {known}' forgets the old key, and '{hand}' shows the new one to be "
            f"compared. {again}"
        )
    if "Host key verification failed" in said or "host key is known" in said:
        return (
            f"{name}'s ssh host key is not known here, and nothing was sent to it. Log in once with '{hand}', and say yes when the fingerprint "
            f"that it shows is the machine's own. {again}"
        )
    if "Permission denied" in said:
        return (
            f"{name} lets nobody in with the keys that ssh has here ({words}). Nothing is asked for on the way, so '{hand}' must log in without "
            f"a question: put a key of yours there (ssh-copy-id), give its passphrase to ssh's agent, or name another as keyfile= in hosts.uri. {again}"
        )
    if "cannot listen to port" in said:
        return (
            f"ssh to {name} could not listen on a port here ({words}). A LocalForward for {name} in your ssh configuration may ask for one that is "
            f"taken: '{hand} -N' shows it. {again}"
        )
    if "administratively prohibited" in said:
        return f"{name} lets nobody on to its guests: its sshd_config has AllowTcpForwarding no, or PermitOpen. Allow it there. {again}"
    return f"{name} is not reached by ssh ({words}). '{hand}' must log in without a question. {again}"


def opened(run: Path, name: str, through: str, target: str) -> int:
    """The port of this machine's loopback address by which a target is reached, always the same for a name.

    Raises:
        ForwardError: it can't be opened.
    """
    with _held(run, name):
        way = _read(run, name) or PortForward(through, target, _choose(run, name))
        if (way.through, way.target) == (through, target) and is_open(way):
            return way.port
        _open(run, name, replace(way, through=through, target=target))
        return way.port


def reopen(run: Path) -> list[str]:
    """Open all that a run folder has written down and that does not run; the names of these.

    Raises:
        ForwardError: one can't be opened; the others are.
    """

    def one(name: str) -> str:
        with _held(run, name):
            way = _read(run, name)
            if way is None or not way.through or is_open(way):
                return ""
            _open(run, name, way)
            return f"{name} on port {way.port}"

    with ThreadPoolExecutor(TOGETHER) as threads:
        found = [threads.submit(one, name) for name in names(run)]
    return [name for future in found if (name := future.result())]


def note(run: Path, name: str, through: str, target: str, port: int) -> None:
    """Write down a way and its port, as the state has them, for ``reopen``; one that is written down like that stays as it is."""
    with _held(run, name):
        way = _read(run, name)
        if way is None or (way.through, way.target, way.port) != (through, target, port):
            end(record(run, name))
            _write(run, name, PortForward(through, target, port))


def close(run: Path, name: str) -> None:
    """End a way, and forget its port."""
    if not (run / "forwards").exists():
        return
    with _held(run, name):
        end(record(run, name))
        for path in (record(run, name), log(run, name)):
            path.unlink(missing_ok=True)
    lock(run, name).unlink(missing_ok=True)


def close_all(run: Path) -> None:
    """End all of a lab's."""
    for name in names(run):
        close(run, name)
    shutil.rmtree(run / "forwards", ignore_errors=True)


def names(run: Path) -> list[str]:
    """What is written down in a run folder."""
    return sorted(path.stem for path in (run / "forwards").glob("*.json"))


def record(run: Path, name: str) -> Path:
    """Where a way is written down."""
    return run / "forwards" / f"{name}.json"


def log(run: Path, name: str) -> Path:
    """What its process has said."""
    return run / "forwards" / f"{name}.log"


def lock(run: Path, name: str) -> Path:
    """Held while it is opened or ended."""
    return run / "forwards" / f".{name}.lock"


def last_words(run: Path, name: str) -> str:
    """The last thing that its process has said."""
    try:
        lines = log(run, name).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")


def is_open(way: PortForward) -> bool:
    """Whether its own process runs and listens on its port."""
    return way.pid > 0 and started(way.pid) == way.started and listens(way.pid, way.port)


def started(pid: int) -> str:
    """When a process was started, in ticks; nothing when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def listens(pid: int, port: int) -> bool:
    """Whether a process listens on a port of the loopback address, as far as this user may see."""
    try:
        return _is_seen_to_listen(pid, port)
    except PermissionError:
        # Another user's, root's say: its start has told that it is the one.
        return True
    except OSError:
        return False


def _is_seen_to_listen(pid: int, port: int) -> bool:
    # Of its own network namespace, whatever ours is.
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[1] == f"0100007F:{port:04X}" and row[3] == "0A"}
    return bool(inodes) and not inodes.isdisjoint(_open_files(pid))


def _open_files(pid: int) -> Iterator[str]:
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(fd.readlink())


def _read(run: Path, name: str) -> PortForward | None:
    try:
        return PortForward(**json.loads(record(run, name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(run: Path, name: str, way: PortForward) -> None:
    path = record(run, name)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(way), file)
    new.replace(path)


@contextlib.contextmanager
def _held(run: Path, name: str) -> Iterator[None]:
    (run / "forwards").mkdir(mode=0o700, exist_ok=True)
    with lock(run, name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _folder_held(folder: Path) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _choose(run: Path, name: str) -> int:
    """A port that no lab of this checkout has, and nothing listens on; written down before another is chosen."""
    with _folder_held(run.parent):
        given = {
            way.port for path in run.parent.glob("*/forwards/*.json") if (way := _read(path.parent.parent, path.stem))
        }
        for port in random.sample(PORTS, len(PORTS)):
            if port not in given and _is_free(port):
                _write(run, name, PortForward("", "", port))
                return port
    msg = f"no port of {LOOPBACK} from {PORTS.start} to {PORTS.stop - 1} is free. End what holds them ('ss -ltnp'), then run the same command again."
    raise ForwardError(msg)


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        # As ssh itself: what was closed a moment ago is free.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def _open(run: Path, name: str, way: PortForward) -> None:
    """Start its process, and wait until it listens."""
    # Also one that was started and not written down.
    end(record(run, name))
    _write(run, name, replace(way, pid=0, started=""))
    stack = run.name
    if not _is_free(way.port):
        msg = (
            f"{LOOPBACK}:{way.port}, by which {name} of lab {stack} is reached, is taken by {_holder(way.port)}. End that, then run the same "
            f"command again. If it must stay, 'make destroy STACK={stack}' and 'make lab STACK={stack}' make the lab anew with other ports."
        )
        raise ForwardError(msg)
    deadline = time.monotonic() + OPEN_S
    for attempt in range(1, TRIES + 1):
        said = _start(run, name, way, deadline)
        if said is None:
            return
        if attempt == TRIES or not AGAIN.search(said) or time.monotonic() > deadline:
            raise ForwardError(explain(way.through, said, stack))
        time.sleep(attempt)


def _start(run: Path, name: str, way: PortForward, deadline: float) -> str | None:
    """One process; None when it listens, else what it said when it ended."""
    try:
        with log(run, name).open("wb") as file:
            # Nothing of ours is held by it, or a step would not end before it does.
            process = subprocess.Popen(
                command(run, way), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/",
                env={**os.environ, "LC_ALL": "C", MARK: str(record(run, name))},
            )  # fmt: skip
    except FileNotFoundError:
        msg = "there is no ssh on this machine. 'apt-get install openssh-client' brings it; then run the same command again."
        raise ForwardError(msg) from None
    _write(run, name, replace(way, pid=process.pid, started=started(process.pid)))
    while not listens(process.pid, way.port):
        if process.poll() is not None:
            return log(run, name).read_text(encoding="utf-8", errors="replace")
        if time.monotonic() > deadline:
            end(record(run, name))
            return f"no answer within {OPEN_S:.0f} s"
        time.sleep(0.05)
    return None


def end(path: Path) -> None:
    """End every process that says it is the one written down in that file, and no other."""
    mine = [pid for pid, marked in marked_processes() if marked == path]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + END_S
        while any(started(pid) for pid in mine) and time.monotonic() < deadline:
            time.sleep(0.02)
        mine = [pid for pid in mine if started(pid)]
        if not mine:
            return


def marked_processes() -> Iterator[tuple[int, Path]]:
    """Every forward of any lab on this machine that this user may see, and the file that it is written down in."""
    start = f"{MARK}=".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        # They may end, or belong to another user, while they are looked at.
        with contextlib.suppress(OSError):
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                if entry.startswith(start):
                    yield int(folder.name), Path(os.fsdecode(entry[len(start) :]))


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may see."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if _is_seen_to_listen(int(folder.name), port):
                return f"process {folder.name} ({(folder / 'comm').read_text(encoding='utf-8').strip()})"
    return f"another program ('ss -ltnp sport = :{port}' shows it)"


def try_login(through: str) -> None:
    """Log in to the machine and do nothing there.

    Raises:
        ForwardError: it does not let us in.
    """
    try:
        done = subprocess.run(
            [*login(through), "--", machine(through), "true"],
            capture_output=True, text=True, check=False, timeout=OPEN_S, stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ForwardError(explain(through, f"no answer within {OPEN_S:.0f} s")) from None
    if done.returncode == 255:
        raise ForwardError(explain(through, done.stderr))


def orphans(names: Sequence[str]) -> int:
    """List forwards that no state knows, or end those of labs with these names; 1 when one is left."""
    sys.path.append(str(Path(__file__).resolve().parents[2] / "ssh" / "scripts"))
    import labstate  # a copy in a run folder is without it, and is never asked for orphans

    found = {
        path: pid
        for pid, path in marked_processes()
        if not labstate.is_known(path.parent.parent, "litelab:hosts:", record="ssh_config")
    }
    left = 0
    # The other kinds' labs end with six digits, and their scripts are given the same names.
    for name in names:
        if not re.search(r"-[0-9a-f]{6}$", name) and name not in {path.parents[1].name for path in found}:
            print(
                f"error: there is no lab {name!r} to remove. 'make orphans' lists what may be removed.", file=sys.stderr
            )
            left = 1
    for path, pid in sorted(found.items()):
        name = path.parents[1].name
        what = f"lab {path.parents[1].name} of {path.parents[1]}: a way to {path.stem} through another machine (process {pid})"
        if name in names:
            close(path.parents[1], path.stem)
            end(path)
            print(f"{what}: removed")
        else:
            print(f"{what}; no state knows it. 'make orphans REMOVE={name}' ends it.")
            left = 1
    return left


def main(arguments: list[str]) -> int:
    """Run one subcommand; 1 and one paragraph when a way can't be opened."""
    try:
        match arguments:
            case ["try", through]:
                try_login(through)
            case ["reopen", run]:
                for name in reopen(Path(run).resolve()):
                    print(f"The way to {name} was shut, and is open again.", file=sys.stderr)
            case ["close", run]:
                close_all(Path(run).resolve())
            case ["orphans"]:
                return orphans([])
            case ["orphans", "--remove", *names]:
                return orphans(names)
            case _:
                print(
                    "usage: forward.py try THROUGH | reopen RUN | close RUN | orphans [--remove LAB...]",
                    file=sys.stderr,
                )
                return 2
    except ForwardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
