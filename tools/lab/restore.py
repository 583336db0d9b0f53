"""The run folder of a lab, restored from its Pulumi state: for a checkout that did not make the lab, or has lost the folder.

A step that leaves files on the operator's machine has the verb ``restore``: ``SCRIPT restore ARGUMENTS`` writes them again. It gets the
step's environment, and by standard input ``{"stdin", "stdout"}`` as the state has them, secrets among them. It runs from a copy of
today's scripts, so labs of older versions are restored too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.errors import SetupError
from tools.lab import hostio, presence, published, stacks
from tools.places import OWN, PROJECT

FILES = {
    ("nspawn", "network.sh"): ("lab.env|hosts",),
    ("libvirt", "keys.py"): ("id_ed25519", "id_ed25519.pub"),
    ("libvirt", "place.py"): ("lab.env", "patience"),
    ("libvirt", "ready.py"): ("ssh/{0}",),
    ("existing", "facts.py"): ("ssh/{0}", "lab.id"),
    ("existing", "host.sh"): ("hosts/{0}.claim",),
    ("forwarding", "api.py"): ("forwards",),
    ("benchmarks", "access.py"): ("kubeconfig", "hosts.json"),
}
"""What steps leave in the run folder, by part and script, in the order in which it is restored; ``|`` is for either."""
ELSEWHERE = {"existing", "libvirt"}
"""Kinds of hosts that need not be on the operator's machine."""
LISTS = {"fetch.py", "artifacts.sh"}
"""Scripts that leave ``PART.list``, and what it lists in the cache. Only a lab that is changed needs them."""
RESTORE_S = 180
FETCH_S = 3600
GONE = 3
"""Exit code of a step whose lab can't be restored, for it is gone with the run folder."""
TOGETHER = 8
MARK = "restored"
"""File in the run folder that says which state it is of."""
SECRET = "4dabf18193072939515e22adb298388d"
"""Key of the objects that are secrets in an exported state (Pulumi's ``resource.SigKey``)."""


@dataclass(frozen=True)
class Step:
    """A step of a lab that leaves files on the operator's machine.

    Attributes:
        name: of its resource.
        part: whose script it is, as the part is called today.
        script: the script's file name.
        arguments: what it is called with, after the verb.
        version: changes whenever the step runs again.
        environment: what it was given.
        secrets: its standard input and what it printed; empty unless the state was read with its secrets.
    """

    name: str
    part: str
    script: str
    arguments: tuple[str, ...]
    version: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def files(self) -> tuple[str, ...]:
        """What it leaves, from the run folder."""
        if self.script in LISTS:
            return (f"{self.part}.list",)
        if self.script == "keys.py" and self.arguments != ("client",):
            return ()
        return tuple(text.format(*self.arguments) for text in FILES[self.part, self.script])

    def is_missing(self, run: Path) -> bool:
        """Whether the run folder lacks something that it leaves, or has another list than the state."""
        if self.script in LISTS:
            return _short_digest(run / self.files[0]) not in self.secrets.get("stdout", "")
        return not all(any((run / name).exists() for name in either.split("|")) for either in self.files)


def _short_digest(path: Path) -> str:
    """Of a file, as lists are known in the state; no text that a state has when there is no file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError:
        return "no file"


def steps(known: Iterable[Mapping[str, Any]]) -> list[Step]:
    """The steps of a state that leave files, in the order in which they are restored."""
    found = [step for entry in known if (step := _step(entry)) and step.files]
    order = list(FILES)
    return sorted(found, key=lambda s: order.index((s.part, s.script)) if s.script not in LISTS else len(order))


def _step(entry: Mapping[str, Any]) -> Step | None:
    inputs, outputs = entry.get("inputs", {}), entry.get("outputs", {})
    given = _plain(inputs.get("environment"))
    environment = {k: v for k, v in given.items() if isinstance(v, str)} if isinstance(given, dict) else {}
    where = re.fullmatch(r"\.lab/run/[^/]+/([a-z0-9]+)-[0-9a-f]{12}/([^/]+)", environment.get("STEP", ""))
    # As components/steps/steps.py writes it.
    command = re.fullmatch(r'"\$STEP" create((?: [a-z0-9-]+)*)', str(inputs.get("create", "")))
    if not (where and command):
        return None
    part = published.OLD_NAMES.get(where[1], where[1])
    arguments = tuple(command[1].split())
    if where[2] not in LISTS and (
        (part, where[2]) not in FILES or (len(arguments) < 1 and any("{0}" in f for f in FILES[part, where[2]]))
    ):
        return None
    said = {"stdin": _plain(inputs.get("stdin", "")), "stdout": _plain(outputs.get("stdout", ""))}
    return Step(
        name=entry["urn"].rpartition("::")[2],
        part=part,
        script=where[2],
        arguments=arguments,
        version=" ".join(str(entry.get(key, "")) for key in ("urn", "id", "modified")),
        environment=environment,
        secrets={key: value for key, value in said.items() if isinstance(value, str)},
    )


def _plain(value: Any) -> Any:
    """A value of an exported state, with secrets in plain text; None where the export has them encrypted."""
    if isinstance(value, dict):
        if SECRET in value:
            try:
                return _plain(json.loads(value["plaintext"]))
            except (KeyError, ValueError, TypeError, RecursionError):
                return None
        return {key: _plain(item) for key, item in value.items()}
    return value


def mark(cache: Path, stack: str) -> None:
    """Note that the run folder is of the state as it is now, so that nothing is restored before that changes."""
    run, digest = OWN / "run" / stack, _digest(steps(presence.resources(cache, stack)))
    if digest and run.is_dir():
        (run / MARK).write_text(digest, encoding="utf-8")
    else:
        (run / MARK).unlink(missing_ok=True)


def _digest(found: Sequence[Step]) -> str:
    """Of what was restored; nothing for labs that no other checkout can have changed, and for none."""
    if not any(step.part in ELSEWHERE for step in found):
        return ""
    text = "\n".join(sorted(step.version for step in found if step.script not in LISTS))
    return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}\n"


def _is_of_another_state(run: Path, found: Sequence[Step]) -> bool:
    """Whether another checkout, or plain Pulumi, has changed the lab since."""
    digest = _digest(found)
    try:
        return bool(digest) and (run / MARK).read_text(encoding="utf-8") != digest
    except (OSError, UnicodeDecodeError):
        return True


def restore(
    cache: Path, stack: str, *, building: bool = False, destroying: bool = False, gone: Sequence[str] = ()
) -> None:
    """Restore what a stack's state says of its run folder; nothing when the folder is of that very state.

    Args:
        cache: set-up's.
        stack: its name.
        building: what only a change of the lab needs, too: lists of files for hosts, and the files.
        destroying: a lab that is gone with its run folder is no error.
        gone: hosts that will never answer again.

    Raises:
        SetupError: something could not be restored, or the lab is gone.
    """
    run, known = OWN / "run" / stack, presence.resources(cache, stack)
    found = [step for step in steps(known) if building or step.script not in LISTS]
    missing = [step for step in found if step.is_missing(run)]
    stale = _is_of_another_state(run, found)
    scripts = published.missing(known)
    if stacks.locks(stack):
        # Pulumi is changing the lab, and this folder with it.
        stale = False
    if not (missing or stale or scripts):
        return
    stacks.require_engine(cache)
    stacks.prepare()
    run.mkdir(parents=True, exist_ok=True)
    stacks.restore_settings(cache, stack)
    published.put_back(known)
    if missing or stale:
        again = [step for step in found if step.script not in LISTS] if stale else []
        wanted = {step.name for step in (*missing, *again)}
        _run(cache, stack, wanted, destroying=destroying, gone=gone)
        hostio.restore(run)
        if not stacks.locks(stack):
            mark(cache, stack)
    # Of nspawn hosts nothing is restored.
    names = [*dict.fromkeys(step.name for step in missing if step.part != "nspawn"), *(["scripts"] if scripts else [])]
    if names:
        print(f"Lab {stack}: restored from its state: {_listed(names)}.", file=sys.stderr)


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _run(cache: Path, stack: str, wanted: set[str], *, destroying: bool, gone: Sequence[str]) -> None:
    text = stacks.pulumi(cache, "stack", "export", "--show-secrets", "--stack", stack)
    entries = presence.whole(json.loads(text)["deployment"].get("resources"))
    found = [step for step in steps(entries) if step.name in wanted]
    environment = {**stacks.environment(cache), **presence.gone(gone)}
    with contextlib.ExitStack() as stack_of_copies, ThreadPoolExecutor(max_workers=TOGETHER) as pool:
        copies = {part: stack_of_copies.enter_context(_copied(part, stack)) for part in {s.part for s in found}}

        def one(step: Step) -> str:
            return _restored(step, copies[step.part], {**environment, **step.environment}, stack, destroying=destroying)

        # Connections to hosts come before what uses them.
        for script in dict.fromkeys((step.part, step.script) for step in found):
            group = [step for step in found if (step.part, step.script) == script]
            failed = [said for said in pool.map(one, group) if said]
            if failed:
                msg = " ".join(failed)
                raise SetupError(msg)


@contextlib.contextmanager
def _copied(part: str, stack: str) -> Iterator[Path]:
    """Today's scripts of a part, where their parent is the run folder."""
    folder = Path(tempfile.mkdtemp(dir=OWN / "run" / stack, prefix=f".restore-{part}-"))
    try:
        published.copy(part, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _restored(step: Step, scripts: Path, environment: Mapping[str, str], stack: str, *, destroying: bool) -> str:
    """Run one step's ``restore``; why it failed, or nothing."""
    limit = FETCH_S if step.script in LISTS else RESTORE_S
    try:
        done = subprocess.run(
            [str(scripts / step.script), "restore", *step.arguments],
            cwd=PROJECT, env=environment, input=json.dumps(dict(step.secrets)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace", check=False, timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"Lab {stack}: {step.name} could not be restored from the state within {limit} s. Run the same command again."
    said = " ".join(done.stderr.split()).removeprefix("error: ")
    if done.returncode == GONE:
        if not destroying:
            return f"Lab {stack}: {said}"
        print(f"Lab {stack}: the disks of its hosts are gone, so only what is left of it is removed.", file=sys.stderr)
        return ""
    if done.returncode == 0:
        return ""
    if not said or "Traceback" in said:
        # A traceback's last line may quote what the script was given.
        said = (
            f"{step.script} ended with exit code {done.returncode}: this Litelab can't read what the state has of it. Use the checkout and "
            f"version that made the lab, or end the lab with 'make destroy STACK={stack}' there."
        )
    return f"Lab {stack}: {step.name} could not be restored from the state. {said}"
