"""Pulumi's own side of a checkout: state folder, passphrase, the stacks, and a lock whose owner is dead."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tools import environment as environments
from tools.setup.errors import SetupError
from tools.setup.places import OWN, PROJECT
from tools.setup.progress import Progress

NAME = "litelab"
STATE = OWN / "state"
UNREADABLE_LOCK_S = 10.0
STACK_NAME = r"[a-z0-9][a-z0-9-]{0,39}"
"""As components/settings.py has it, which needs more than a bare Python."""


def environment(cache: Path) -> dict[str, str]:
    """What programs of a lab get: Pulumi, its steps, and what measures."""
    return environments.pulumi({**os.environ, "LITELAB_CACHE": str(cache)})


def prepare() -> None:
    """The checkout's own folder: readable by its owner alone, with a passphrase made once."""
    for folder in (OWN, STATE, OWN / "config"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    passphrase = OWN / "passphrase"
    if not passphrase.exists():
        temporary = OWN / ".passphrase.new"
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        temporary.replace(passphrase)


def labs() -> list[str]:
    """Every lab in ``stacks/``."""
    return sorted(p.stem for p in (PROJECT / "stacks").glob("*.yaml"))


def state_file(stack: str) -> Path:
    """Where Pulumi keeps the stack's state."""
    return STATE / ".pulumi" / "stacks" / NAME / f"{stack}.json"


def exists(stack: str) -> bool:
    """Whether Pulumi knows the stack."""
    return state_file(stack).exists()


def require_whole_state(stack: str) -> None:
    """Say what to do about a state that can't be read, or that is gone while its lab is there.

    Raises:
        SetupError: with the command that puts back the newest copy that Pulumi itself has kept.
    """
    path = state_file(stack)
    lab_is_there = (OWN / "run" / stack / "lab.env").exists()
    if _is_whole(path) or not (path.exists() or lab_is_there):
        return
    shown = path.relative_to(PROJECT)
    trouble = (
        f"cut off or broken ({path.stat().st_size} bytes)" if path.exists() else "gone, and its lab is still there"
    )
    kept = path.parent.parent.parent
    copies = [path.with_name(f"{path.name}.bak")]
    copies += [
        *(kept / "history" / NAME / stack).glob("*.checkpoint.json"),
        *(kept / "backups" / NAME / stack).glob("*.json"),
    ]
    whole = sorted((p for p in copies if _is_whole(p)), key=lambda p: p.stat().st_mtime_ns)
    if whole:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(whole[-1].stat().st_mtime))
        msg = (
            f"The state of stack {stack}, {shown}, is {trouble}, so Pulumi does not know what the lab has. Its newest whole copy is of "
            f"{when}; 'cp {whole[-1].relative_to(PROJECT)} {shown}' puts it back. Then run the same command again: what that copy does not "
            "know yet is made again or removed."
        )
        raise SetupError(msg)
    msg = (
        f"The state of stack {stack}, {shown}, is {trouble}, and Pulumi has kept no whole copy. 'rm -f {shown}', then "
        f"'make orphans REMOVE=1' removes what the lab has on this machine, and 'make stack NAME={stack} FROM=LAB' makes the stack again."
    )
    raise SetupError(msg)


def _is_whole(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and isinstance(content.get("checkpoint"), dict)


def pulumi(cache: Path, *arguments: str) -> str:
    """Run Pulumi and return what it prints.

    Raises:
        SetupError: it failed, with its own words.
    """
    done = subprocess.run(
        [str(cache / "bin" / "pulumi"), *arguments, "--non-interactive", "--cwd", str(PROJECT)],
        env=environment(cache),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        msg = f"pulumi {' '.join(arguments)}: {' '.join(done.stderr.split()) or 'failed without a word'}"
        raise SetupError(msg)
    return done.stdout


def create(cache: Path, names: list[str], progress: Progress) -> None:
    """Make the empty stacks that are not there yet: Pulumi refuses a name that it does not know."""
    for name in names:
        if not exists(name):
            with progress.step(f"stack {name}"):
                pulumi(cache, "stack", "init", name)


def create_from(cache: Path, name: str, lab: str, progress: Progress) -> None:
    """Another stack of a lab: ``make stack NAME=... FROM=...``."""
    if lab not in labs():
        msg = f"make stack: there is no lab {lab!r} in stacks/. Labs: {', '.join(labs())}. Give one as FROM=."
        raise SetupError(msg)
    if not re.fullmatch(STACK_NAME, name):
        msg = f"make stack: {name!r} can't be a stack's name, which hosts and links are named after: lower-case letters, digits and dashes, at most 40, no dash first. Give another as NAME=."
        raise SetupError(msg)
    if name in labs() and name != lab:
        msg = f"make stack: {name} is the stack of the lab stacks/{name}.yaml, and stays so. Give another NAME=, such as {name}-2."
        raise SetupError(msg)
    if exists(name) and (known := _lab_of(name)) != lab:
        msg = f"make stack: there is a stack {name} already, of the lab {known}. Give another NAME=; 'pulumi stack rm {name}' removes that one once it is destroyed."
        raise SetupError(msg)
    create(cache, [name], progress)
    pulumi(cache, "config", "set", "--stack", name, "litelab:lab", lab)
    print(
        f"Stack {name} is there. 'make lab STACK={name}' brings it up; 'pulumi config set --stack {name} --path litelab:KEY VALUE' changes a setting."
    )


def _lab_of(stack: str) -> str:
    """The lab that a stack is of; its own name unless its configuration says another."""
    path = OWN / "config" / f"Pulumi.{stack}.yaml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = re.search(r"^ *litelab:lab: *(\S+)$", text, re.MULTILINE)
    return found[1].strip("'\"") if found else stack


@dataclass(frozen=True)
class Lock:
    """A lock file of Pulumi's file backend."""

    path: Path
    pid: int
    host: str
    user: str
    since: str

    @property
    def is_dead(self) -> bool:
        """Whether its owner was on this machine and is gone."""
        if self.pid < 0:
            # Half-written: Pulumi writes it in one go, so its owner died in the middle.
            return self._age_s() > UNREADABLE_LOCK_S
        if self.host != socket.gethostname():
            return False
        try:
            return "pulumi" not in Path(f"/proc/{self.pid}/comm").read_text(encoding="utf-8")
        except OSError:
            return True

    def _age_s(self) -> float:
        try:
            return time.time() - self.path.stat().st_mtime
        except OSError:
            return UNREADABLE_LOCK_S + 1


def locks(stack: str, state: Path = STATE) -> list[Lock]:
    """Who holds the stack, as the lock files say."""
    found = []
    for path in (state / ".pulumi" / "locks").rglob("*.json"):
        # By folder name, not anywhere in the path: the checkout's own folder may have a stack's name.
        if path.parent.name != stack:
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        if not isinstance(content, dict):
            content = {}
        found.append(
            Lock(
                path,
                int(content.get("pid", -1)),
                str(content.get("hostname", "")),
                str(content.get("username", "")),
                str(content.get("timestamp", "")),
            )
        )
    return found


def end_left_plugins() -> None:
    """End the plugins of this checkout whose Pulumi was killed: the language host would notice that only after minutes."""
    mine = f"PULUMI_BACKEND_URL=file://{STATE}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        # They may end, or belong to another user, while they are looked at.
        with contextlib.suppress(OSError, ValueError):
            if not (folder / "comm").read_text(encoding="utf-8").startswith(("pulumi-language", "pulumi-resource")):
                continue
            parent = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            is_left = not Path(f"/proc/{parent}/comm").read_text(encoding="utf-8").startswith("pulumi")
            if is_left and mine in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGTERM)


def free(cache: Path, stack: str, progress: Progress) -> None:
    """Take away the lock of a dead owner, and what its last moment left pending in the state.

    Raises:
        SetupError: a living process holds the stack.
    """
    held = locks(stack)
    living = [lock for lock in held if not lock.is_dead]
    if living:
        lock = living[0]
        msg = (
            f"Stack {stack} is in use by process {lock.pid} of {lock.user} on {lock.host} since {lock.since}. Wait for it, or end it "
            f"with Ctrl-C there; 'pulumi cancel {stack}' takes its lock only when you know that it is gone."
        )
        raise SetupError(msg)
    drop_cut_off_attributes(stack)
    if held:
        progress.say(
            f"  the last run of stack {stack} (process {held[0].pid}) ended without giving its lock back; taking it"
        )
        end_left_plugins()
        pulumi(cache, "cancel", "--yes", "--stack", stack)
    if _pending(stack):
        progress.say(f"  the last run of stack {stack} left steps half done; the next lines do them again")
        pulumi(cache, "refresh", "--yes", "--skip-preview", "--clear-pending-creates", "--stack", stack)


def drop_cut_off_attributes(stack: str, state: Path = STATE) -> None:
    """Delete what a killed Pulumi has half written beside a stack's state and locks; nobody may be running on the stack.

    Its backend keeps a file's content type in ``FILE.attrs``, written first. When that is cut off, Pulumi says "failed to load checkpoint: EOF"
    of a whole file; without it the file is read all the same (gocloud.dev/blob/fileblob).
    """
    own = state / ".pulumi" / "stacks" / NAME / f"{stack}.json.attrs"
    beside_locks = (p for p in (state / ".pulumi" / "locks").rglob("*.attrs") if p.parent.name == stack)
    for path in (own, *beside_locks):
        with contextlib.suppress(FileNotFoundError):
            try:
                json.loads(path.read_bytes())
            except ValueError:
                path.unlink()


def _pending(stack: str) -> bool:
    path = state_file(stack)
    try:
        deployment = json.loads(path.read_text(encoding="utf-8"))["checkpoint"]["latest"] or {}
    except (OSError, ValueError, KeyError):
        return False
    return bool(deployment.get("pending_operations"))
