"""``make lab`` and ``make destroy``: Pulumi as a person would run it, with what a person wants to know around it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.steps.scripts import scripts_of
from inputs.limits import MOST_REPEATS, WORKLOAD, workload_label
from tools import places
from tools.errors import SetupError
from tools.lab import bundle, events, presence, restore, stacks
from tools.lab import status as look
from tools.places import OWN, PROJECT, hand_over
from tools.progress import Progress

STOPPED = 130
"""Exit code of what a person or a CI ended, as shells have it."""


def gone_hosts(names: str) -> tuple[str, ...]:
    """Hosts that a person says will never answer again, which nothing is undone on.

    Raises:
        SetupError: a name is none of a host.
    """
    gone = tuple(names.replace(",", " ").split())
    if wrong := [name for name in gone if not re.fullmatch(r"host-[1-9]\d{0,2}", name)]:
        msg = f"GONE names hosts of a lab, such as host-2, and not {wrong[0]!r}. 'make status' lists them. Nothing was done."
        raise SetupError(msg)
    return gone


def up(cache: Path, stack: str, progress: Progress, gone: Sequence[str] = ()) -> int:
    """Bring a lab up, measure it, and print the table. The exit code is Pulumi's, or ``STOPPED``.

    A lab that failed is kept for a look, unless ``DESTROY_ON_FAILURE=1``. Nothing is undone on hosts that are ``gone``.
    """
    stacks.require_whole_state(stack)
    stacks.require_known(stack)
    stacks.require_engine(cache)
    stacks.free(cache, stack, progress)
    restore.restore(cache, stack, building=True, gone=gone)
    environment = stacks.environment(cache)
    python = str(cache / "venv/bin/python3")
    checked = subprocess.run(
        [python, "-m", "components.checks.preflight", stack], cwd=PROJECT, env=environment, check=False
    )
    if checked.returncode != 0:
        return checked.returncode
    began, since = time.monotonic(), time.time()
    reopen(stack)
    replaced = presence.bring_back(presence.Presence(cache, stack), gone)
    code = _pulumi(cache, "up", stack, {**environment, **replaced.environment}, replaced.flags)
    restore.mark(cache, stack)
    hand_over()
    if code not in {0, STOPPED} and (why := stacks.has_another_passphrase(cache, stack)):
        raise SetupError(why)
    if code != 0:
        # Who stopped it may have good reason to keep it.
        if os.environ.get("DESTROY_ON_FAILURE") == "1" and code != STOPPED:
            print(f"\nDESTROY_ON_FAILURE=1: what there is of the lab {stack} is removed.", file=sys.stderr)
            destroy(cache, stack, progress, gone)
        else:
            print(f"\n{_look_inside(stack, look.guide(cache, stack))}{_old_figures(cache, stack)}", file=sys.stderr)
        return code
    figures = _measured(cache, stack)
    latest = [OWN / "results" / stack / f"latest-{workload_label(name)}" for name in figures]
    # Another checkout may have measured.
    results = [path for path in latest if path.exists()]
    if results:
        subprocess.run(
            [
                str(cache / "venv/bin/python3"),
                *("-m", "benchmarks", "show", "--since", _utc(since)),
                *map(str, results),
            ],
            cwd=PROJECT,
            env=environment,
            check=False,
        )
        print(f"Raw results: {(OWN / 'results' / stack).relative_to(PROJECT)}/")
    if not events.changes(OWN / "logs" / f"{stack}.jsonl"):
        again = f", and nothing was measured: 'make bench STACK={stack}' measures again" if figures else ""
        print(f"Pulumi had nothing to change{again}.")
    print(
        f"Lab {stack} is up after {time.monotonic() - began:.0f} s. 'make kubeconfig STACK={stack}', 'make ssh STACK={stack} HOST=host-1', 'make destroy STACK={stack}'."
    )
    return 0


def _utc(at: float) -> str:
    """A time as results have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _measured(cache: Path, stack: str) -> dict[str, str]:
    """Workloads in the stack's output ``results``, each with the time of its measurement."""
    for entry in presence.resources(cache, stack):
        if entry["type"] == "pulumi:pulumi:Stack":
            results = entry.get("outputs", {}).get("results", {})
            return {name: str(one.get("finished_at", "")) for name, one in results.get("workloads", {}).items()}
    return {}


def _old_figures(cache: Path, stack: str) -> str:
    """That the outputs of a lab that failed are of an earlier run, if there are any."""
    figures = _measured(cache, stack)
    if not figures:
        return ""
    told = ", ".join(f"{name} measured at {at}" for name, at in figures.items())
    return f"\nThe stack's output results is of an earlier run: {told}."


def _look_inside(stack: str, known: Mapping[str, Any]) -> str:
    """What a person can do with a lab that failed."""
    inside = ""
    if (OWN / "run" / stack / "ssh_config").exists():
        unit = look.hint(known, "host-1")
        inside = f"'make ssh STACK={stack} HOST=host-1' looks inside, 'make logs STACK={stack} HOST=host-1{f' UNIT={unit}' if unit else ''}' shows a journal, "
    return (
        f"The lab is kept as it is. {inside}'make logs STACK={stack}' packs everything that it said into one file without secrets. 'make lab "
        f"STACK={stack}' goes on where it stopped, 'make destroy STACK={stack}' removes it (DESTROY_ON_FAILURE=1 does that at once)."
    )


def destroy(cache: Path, stack: str, progress: Progress, gone: Sequence[str] = ()) -> int:
    """Remove a lab and every trace of it, but on hosts that are ``gone``; the stack stays, empty."""
    stacks.require_whole_state(stack)
    stacks.require_known(stack)
    if not stacks.exists(stack):
        print(f"Stack {stack} was never made: nothing to destroy.")
        return 0
    stacks.require_engine(cache)
    stacks.free(cache, stack, progress)
    restore.restore(cache, stack, destroying=True, gone=gone)
    # What a host has to do before it goes is done by its way; libvirt takes the host away without.
    reopen(stack)
    code = _pulumi(cache, "destroy", stack, {**stacks.environment(cache), **presence.gone(gone)})
    if code not in {0, STOPPED} and (why := stacks.has_another_passphrase(cache, stack)):
        raise SetupError(why)
    if code == 0:
        code = _remove_unknown(stack)
    restore.mark(cache, stack)
    hand_over()
    if code == 0:
        results = OWN / "results" / stack
        kept = f" What it measured stays in {results.relative_to(PROJECT)}/." if results.exists() else ""
        print(f"Lab {stack} is removed; 'make lab STACK={stack}' makes it again.{kept}")
    return code


def _remove_unknown(stack: str) -> int:
    """Remove what a killed ``up`` made of this lab before the state knew it."""
    worst = 0
    for script in sorted((PROJECT / "components").glob("**/scripts/leftovers.sh")):
        worst = worst or subprocess.run([str(script), str(OWN / "run" / stack)], cwd=PROJECT, check=False).returncode
    return worst


def status(cache: Path, stack: str) -> int:
    """Print the stack, its hosts, and its nodes as the API server sees them; 1 when something of it is not as it should be."""
    stacks.require_whole_state(stack)
    _prepare(stack, cache)
    reopen(stack)
    return look.show(cache, stack, OWN / "run" / stack)


def _prepare(stack: str, cache: Path | None = None) -> None:
    """What each verb needs that looks at a lab: its run folder as the state has it.

    Raises:
        SetupError: there is no such stack, or the lab is gone with its run folder.
    """
    stacks.require_known(stack)
    restore.restore(cache or places.cache(), stack)


def reopen(stack: str) -> int:
    """Open again what leads through another machine to a lab's hosts, and was shut by a reboot or a cut connection; 1 when it can't be."""
    run = OWN / "run" / stack
    if not (run / "forwards").exists():
        return 0
    program = scripts_of("forwarding") / "forward.py"
    return subprocess.run(
        [sys.executable, str(program), "reopen", str(run)], check=False, stdin=subprocess.DEVNULL
    ).returncode


def require_up(stack: str, host: str = "") -> int:
    """Say in one paragraph that a lab is not up, has no such host or is not reached, before ssh says it in its own way."""
    _prepare(stack)
    config = OWN / "run" / stack / "ssh_config"
    if not config.exists():
        msg = f"Stack {stack} is not up, so it has no hosts. 'make lab STACK={stack}' brings it up."
        raise SetupError(msg)
    hosts = _hosts(config)
    if host and host not in hosts:
        msg = f"Lab {stack} has no host {host!r}. It has {', '.join(hosts)}: give one as HOST=."
        raise SetupError(msg)
    return reopen(stack)


def _hosts(config: Path) -> list[str]:
    """Names of the hosts in the lab's ssh configuration."""
    lines = config.read_text(encoding="utf-8").splitlines()
    return [line.split()[1] for line in lines if line.startswith("Host host-")]


def logs(cache: Path, stack: str) -> int:
    """Pack what a lab and its set-up said into one file, and print its path."""
    stacks.require_known(stack)
    try:
        restore.restore(cache, stack)
    except SetupError as error:
        print(f"warning: {error}", file=sys.stderr)
    # Without it the bundle still has all that is on this machine.
    reopen(stack)
    made = bundle.make(cache, stack)
    size = f"{made.path.stat().st_size / 2**20:.1f} MiB"
    lacks = f" {made.lacks}" if made.lacks else ""
    print(
        f"{made.path.relative_to(PROJECT)} ({size}) has {made.holds}, without keys, kubeconfig or state.{lacks} "
        "Look through it before you hand it on."
    )
    return 0


def kubeconfig(stack: str) -> int:
    """Print the path of the lab's kubeconfig, mode 0600."""
    path = _kubeconfig(stack)
    if reopen(stack) != 0:
        return 1
    print(path)
    return 0


def _kubeconfig(stack: str) -> Path:
    _prepare(stack)
    path = OWN / "run" / stack / "kubeconfig"
    if not path.exists():
        msg = f"Stack {stack} has no kubeconfig: the lab is not up. 'make lab STACK={stack}' brings it up."
        raise SetupError(msg)
    path.chmod(0o600)
    return path


def bench(cache: Path, stack: str, workload: str, repeats: str) -> int:
    """Measure one workload again on a lab that is up; the stack's output ``results`` stays as it is."""
    run = OWN / "run" / stack
    _kubeconfig(stack)
    shipped = sorted(path.stem for path in (PROJECT / "benchmarks" / "workloads").glob("*.yaml"))
    if workload not in shipped and not (PROJECT / workload).is_file():
        msg = f"make bench: there is no workload {workload!r}. There are {', '.join(shipped)}; or name a file by its path, from / or below the project: WORKLOAD=."
        raise SetupError(msg)
    if not re.fullmatch(WORKLOAD, workload):
        msg = f"make bench: WORKLOAD takes a name or a path of letters, digits and . _ / + @ -, and not {workload!r}. Give the file another name."
        raise SetupError(msg)
    if not re.fullmatch(r"[1-9][0-9]*", repeats) or len(repeats) > 9 or int(repeats) > MOST_REPEATS:
        msg = (
            f"make bench: REPEATS is how often the workload is measured, from 1 to {MOST_REPEATS}, and not {repeats!r}."
        )
        raise SetupError(msg)
    if reopen(stack) != 0:
        return 1
    environment = {**stacks.environment(cache), "REPEATS": repeats}
    # Read by the code that measures.
    read = [str(cache / "venv/bin/python3"), "-m", "benchmarks", "check", "--repeats", repeats, "--", workload]
    if subprocess.run(read, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        return 1
    steps = sorted(run.glob("benchmark*-*/run.sh"), key=lambda p: p.stat().st_mtime)
    code = subprocess.run(
        [str(steps[-1]), "create", workload], cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, check=False
    ).returncode
    hand_over()
    if code != 0:
        return code
    latest = OWN / "results" / stack / f"latest-{workload_label(workload)}"
    code = subprocess.run(
        [str(cache / "venv/bin/python3"), "-m", "benchmarks", "show", str(latest)],
        cwd=PROJECT,
        env=environment,
        check=False,
    ).returncode
    if at := _measured(cache, stack).get(workload):
        print(f"The stack's output results keeps what 'make lab' measured at {at}.")
    return code


def _pulumi(cache: Path, verb: str, stack: str, environment: dict[str, str], more: Sequence[str] = ()) -> int:
    """Run Pulumi in the foreground. Ctrl-C reaches it through the terminal; this process waits for its end."""
    words = ["--yes", "--skip-preview", "--suppress-outputs", "--stack", stack, *more]
    command = [str(cache / "bin" / "pulumi"), verb, *words]
    stopped = False

    def interrupted(*_: object) -> None:
        nonlocal stopped
        stopped = True
        print(
            "\nStopping: the steps that run are ended. Ctrl-C again does not wait for them. The same command goes on from here.",
            file=sys.stderr,
        )

    def terminated(*_: object) -> None:
        nonlocal stopped
        stopped = True
        process.send_signal(signal.SIGINT)

    previous = signal.signal(signal.SIGINT, interrupted)
    # After the handler: an ignored SIGINT would be inherited, and the language host then waits five seconds.
    with events.recorded(OWN / "logs" / f"{stack}.jsonl") as (flag, allowing):
        process = subprocess.Popen([*command, *flag], cwd=PROJECT, env={**environment, **allowing})
        signal.signal(signal.SIGTERM, terminated)
        try:
            code = process.wait()
        finally:
            signal.signal(signal.SIGINT, previous)
    if code < 0:
        stacks.end_left_plugins()
        print(
            f"\nerror: Pulumi was ended by signal {-code}. Run the same command again: it goes on from here.",
            file=sys.stderr,
        )
        code = 128 - code
    return STOPPED if stopped and code != 0 else code
