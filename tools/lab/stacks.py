"""Pulumi's own side of a checkout: state folder, passphrase, the stacks, and a lock whose owner is dead."""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.places import lab_stands
from inputs import suggestions
from tools import environment as environments
from tools import places
from tools.errors import SetupError
from tools.lab import hostio
from tools.places import OWN, PROJECT
from tools.progress import Progress

NAME = "litelab"
STATE = OWN / "state"
UNREADABLE_LOCK_S = 10.0
WRONG_PASSPHRASE = "incorrect passphrase"
"""Pulumi's words."""
STACK_NAME = r"[a-z0-9][a-z0-9-]{0,39}"
"""As components/config/settings.py has it, which needs more than a bare Python."""


def environment(cache: Path) -> dict[str, str]:
    """What programs of a lab get: Pulumi, its steps, and what measures."""
    return environments.pulumi({**os.environ, "LITELAB_CACHE": str(cache)})


def prepare() -> None:
    """The checkout's own folder: readable by its owner alone, with a passphrase made once."""
    for own in (OWN, STATE, OWN / "config"):
        own.mkdir(parents=True, exist_ok=True)
        own.chmod(0o700)
    site = environments.site_settings()
    state = folder()
    if state is not None and not state.is_dir():
        msg = f".lab/site.yaml: backend names the folder {state}, and there is none. Make it: 'mkdir -p -m 700 {state}'; then run the same command again."
        raise SetupError(msg)
    if "passphraseFile" in site:
        _require_passphrase(environments.passphrase_file(site))
        return
    passphrase = OWN / "passphrase"
    if not passphrase.exists():
        temporary = OWN / ".passphrase.new"
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        temporary.replace(passphrase)


def _require_passphrase(path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        msg = f".lab/site.yaml: passphraseFile names {path}, which can't be read: {why}. Put the passphrase there, or take the line out."
        raise SetupError(msg) from error
    if not text.strip():
        msg = f".lab/site.yaml: passphraseFile names {path}, which is empty. Put the passphrase there, or take the line out."
        raise SetupError(msg)


def labs() -> list[str]:
    """Every lab in ``stacks/``."""
    return sorted(p.stem for p in (PROJECT / "stacks").glob("*.yaml"))


def folder() -> Path | None:
    """Where this checkout's state is: its own folder, or the one of a ``file://`` backend; None for any other backend."""
    backend = environments.site_settings().get("backend")
    if backend is None:
        return STATE
    address = urllib.parse.urlsplit(backend)
    return Path(address.path) if address.scheme == "file" else None


def state_file(stack: str) -> Path | None:
    """Where Pulumi keeps the stack's state; None when that is not on this machine."""
    state = folder()
    return state and state / ".pulumi" / "stacks" / NAME / f"{stack}.json"


def exists(stack: str) -> bool:
    """Whether Pulumi knows the stack."""
    path = state_file(stack)
    return path.exists() if path else stack in _listed(places.cache())


@functools.cache
def _listed(cache: Path) -> frozenset[str]:
    """Stacks in a backend whose files can't be looked at; none before set-up has built Pulumi."""
    if not (cache / "bin" / "pulumi").exists():
        return frozenset()
    found = json.loads(pulumi(cache, "stack", "ls", "--json"))
    return frozenset(str(stack["name"]).rpartition("/")[2] for stack in found)


def latest(stack: str, cache: Path | None = None) -> dict[str, Any]:
    """What Pulumi knows of a stack; empty when that can't be read, or nothing was made yet."""
    path = state_file(stack)
    try:
        if path is not None:
            found = json.loads(path.read_text(encoding="utf-8"))["checkpoint"]["latest"]
        else:
            found = json.loads(pulumi(cache or places.cache(), "stack", "export", "--stack", stack))["deployment"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SetupError):
        return {}
    return found if isinstance(found, dict) else {}


def require_whole_state(stack: str) -> None:
    """Say what to do about a state that can't be read, or that is gone while its lab is there.

    Raises:
        SetupError: with the command that puts back the newest copy that Pulumi itself has kept.
    """
    path = state_file(stack)
    if path is None:
        # The backend's own business.
        return
    lab_is_there = lab_stands(OWN / "run" / stack)
    if _is_whole(path) or not (path.exists() or lab_is_there):
        return
    shown = _shown(path)
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
            f"{when}; 'cp {_shown(whole[-1])} {shown}' puts it back. Then run the same command again: what that copy does not "
            "know yet is made again or removed."
        )
        raise SetupError(msg)
    msg = (
        f"The state of stack {stack}, {shown}, is {trouble}, and Pulumi has kept no whole copy. 'rm -f {shown}', then "
        f"'make orphans' lists what the lab has on this machine and how to remove it, and 'make stack NAME={stack} FROM=LAB' makes the stack again."
    )
    raise SetupError(msg)


def _shown(path: Path) -> Path:
    return path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path


def _is_whole(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
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
        if WRONG_PASSPHRASE in done.stderr:
            stack = arguments[arguments.index("--stack") + 1] if "--stack" in arguments else arguments[-1]
            raise SetupError(_of_another_passphrase(stack))
        msg = f"pulumi {' '.join(arguments)}: {' '.join(done.stderr.split()) or 'failed without a word'}"
        raise SetupError(msg)
    return done.stdout


def has_another_passphrase(cache: Path, stack: str) -> str:
    """Why Pulumi can't read the secrets of a stack, and the fix; empty when it can, or can't for another reason."""
    try:
        # Other commands look at the passphrase only where there is a secret to show; this one always does.
        pulumi(cache, "stack", "history", "--show-secrets", "--json", "--page-size", "1", "--stack", stack)
    except SetupError as error:
        return str(error) if str(error) == _of_another_passphrase(stack) else ""
    return ""


def _of_another_passphrase(stack: str) -> str:
    own = _shown(environments.passphrase_file(environments.site_settings()))
    return (
        f"Stack {stack} was made with another passphrase than the one in {own}: of another checkout, or the PULUMI_CONFIG_PASSPHRASE of a shell, "
        f"which older versions of Litelab took, even empty. 'make passphrase STACK={stack}' asks for that passphrase and puts {own} in its place. "
        "Then run the same command again."
    )


def change_passphrase(cache: Path, stack: str) -> None:
    """Encrypt a stack's secrets with this checkout's passphrase, where they were with another, which is asked for.

    Raises:
        SetupError: that was not the stack's passphrase.
    """
    if not exists(stack):
        settings = _shown(OWN / "config" / f"Pulumi.{stack}.yaml")
        msg = f"There is no stack {stack!r} whose passphrase could be changed. If {settings} is there, delete it and set the stack's settings again."
        raise SetupError(msg)
    if not has_another_passphrase(cache, stack):
        print(f"Stack {stack} has this checkout's passphrase already.")
        return
    asked = f"Passphrase that stack {stack} was made with (it may be empty): "
    old = getpass.getpass(asked) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    new = environments.passphrase_file(environments.site_settings()).read_text(encoding="utf-8").strip()
    done = subprocess.run(
        [
            str(cache / "bin" / "pulumi"),
            "stack",
            "change-secrets-provider",
            "passphrase",
            "--stack",
            stack,
            "--cwd",
            str(PROJECT),
        ],
        env={**environment(cache), "PULUMI_CONFIG_PASSPHRASE": old},
        input=f"{new}\n{new}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        why = "that is not its passphrase" if WRONG_PASSPHRASE in said else f"Pulumi says: {said}"
        msg = f"The passphrase of stack {stack} was not changed: {why}. Nothing was changed; run the same command again with the right one."
        raise SetupError(msg)
    print(f"Stack {stack} has this checkout's passphrase now.")


def require_engine(cache: Path) -> None:
    """Refuse to go on without a Pulumi that runs.

    Raises:
        SetupError: there is none, or it is damaged.
    """
    if not (cache / "bin" / "pulumi").exists():
        msg = f"There is no Pulumi in {cache}: set-up has not run with this cache. 'make setup' builds it; then run the same command again."
        raise SetupError(msg)
    # A program that is cut off may be no program to the kernel, or die of a signal.
    try:
        code = subprocess.run([str(cache / "bin" / "pulumi"), "version"], capture_output=True, check=False).returncode
        why = f"ends with {'signal' if code < 0 else 'exit code'} {abs(code)}" if code else ""
    except OSError as error:
        why = f"can't be run: {error.strerror}"
    if why:
        msg = (
            f"{cache / 'bin' / 'pulumi'} is damaged: 'pulumi version' {why}. 'make setup' puts it right when it is not as it was built; if it "
            f"does not, 'rm -rf {cache / 'built'}/pulumi-[0-9a-f]*' first. Then run the same command again."
        )
        raise SetupError(msg)


def create(cache: Path, names: list[str], progress: Progress) -> None:
    """Make the empty stacks that are not there yet: Pulumi refuses a name that it does not know."""
    for name in names:
        if not exists(name):
            with progress.step(f"stack {name}"):
                _drop_useless_salt(name)
                pulumi(cache, "stack", "init", name)
            _listed.cache_clear()


def _drop_useless_salt(stack: str) -> None:
    """Before a stack is made: its settings may be there already, with the mark of a passphrase that encrypted nothing in them."""
    path = OWN / "config" / f"Pulumi.{stack}.yaml"
    with contextlib.suppress(FileNotFoundError):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("encryptionsalt:")]
        if kept != lines and not any("secure:" in line for line in lines):
            path.write_text("".join(kept), encoding="utf-8")


def restore_settings(cache: Path, stack: str) -> None:
    """The stack's own settings, as its last update had them, where another checkout made it and this one has none."""
    if not (OWN / "config" / f"Pulumi.{stack}.yaml").exists():
        # A stack that was never up has none there; the lab's file may say all.
        with contextlib.suppress(SetupError):
            pulumi(cache, "config", "refresh", "--stack", stack)


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
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
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


def locks(stack: str, state: Path | None = None) -> list[Lock]:
    """Who holds the stack, as the lock files say; none where they are not on this machine."""
    state = state or folder()
    if state is None:
        return []
    found = []
    for path in (state / ".pulumi" / "locks").rglob("*.json"):
        # By folder name, not anywhere in the path: the checkout's own folder may have a stack's name.
        if path.parent.name != stack:
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        if not isinstance(content, dict) or not isinstance(content.get("pid"), int):
            content = {}
        host, user, since = (_word(content.get(key, "")) for key in ("hostname", "username", "timestamp"))
        found.append(Lock(path, content.get("pid", -1), host, user, since))
    return found


def _word(value: object) -> str:
    """A value of a lock file for a message, whatever it is."""
    return str(value) if str(value).isprintable() else repr(value)


def end_left_plugins() -> None:
    """End the plugins of this checkout whose Pulumi was killed: the language host would notice that only after minutes."""
    backend = environments.site_settings().get("backend", f"file://{STATE}")
    mine = f"PULUMI_BACKEND_URL={backend}".encode()
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
    if latest(stack, cache).get("pending_operations"):
        progress.say(f"  the last run of stack {stack} left steps half done; the next lines do them again")
        pulumi(cache, "refresh", "--yes", "--skip-preview", "--clear-pending-creates", "--stack", stack)


def drop_cut_off_attributes(stack: str, state: Path | None = None) -> None:
    """Delete what a killed Pulumi has half written beside a stack's state and locks; nobody may be running on the stack.

    Its backend keeps a file's content type in ``FILE.attrs``, written first. When that is cut off, Pulumi says "failed to load checkpoint: EOF"
    of a whole file; without it the file is read all the same (gocloud.dev/blob/fileblob).
    """
    state = state or folder()
    if state is None:
        return
    own = state / ".pulumi" / "stacks" / NAME / f"{stack}.json.attrs"
    beside_locks = (p for p in (state / ".pulumi" / "locks").rglob("*.attrs") if p.parent.name == stack)
    for path in (own, *beside_locks):
        with contextlib.suppress(FileNotFoundError):
            try:
                json.loads(path.read_bytes())
            except ValueError:
                path.unlink()


def require_known(stack: str) -> None:
    """Refuse the name of a stack that there is not; put its ssh configuration right.

    Raises:
        SetupError: with the names that there are.
    """
    if not exists(stack) and stack not in labs():
        # A path or capitals are no name of a stack; make stack would refuse them.
        plain = Path(stack).stem.lower()
        near = suggestions.nearest(plain, labs())
        another = f" 'make stack NAME={stack} FROM=upstream-lab' makes another stack of one." if plain == stack else ""
        msg = f"There is no stack {stack!r}.{near} Labs: {', '.join(labs())}.{another}"
        raise SetupError(msg)
    hostio.restore(OWN / "run" / stack)
