"""Whole labs on the tests' libvirt, driven from the network namespace that reaches it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.lab import PROJECT, LabStack
from tests.libvirt.daemon import Daemon
from tests.libvirt.guests import forget
from tests.libvirt.remote import Remote

LAB_S = 3000
"""From nothing to the table, emulated and on a busy machine."""
ROUTINE_S = 300


def inside(daemon: Daemon | Remote, stack: LabStack, *words: str, timeout: float = ROUTINE_S) -> str:
    """What a program prints in the daemon's network namespace."""
    done = daemon.run(
        list(words), cwd=PROJECT, env=stack.env, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    return done.stdout


@contextmanager
def configured(daemon: Daemon | Remote, stack: LabStack) -> Iterator[LabStack]:
    """The stack with its settings, on this libvirt; it goes when the block ends."""
    forget(stack)
    inside(daemon, stack, "pulumi", "stack", "select", "--create", stack.name, "--non-interactive")
    settings = {"hosts.uri": daemon.uri, "hosts.storage": str(daemon.images), **stack.settings}
    words = [w for key, value in settings.items() for w in ("--plaintext", f"litelab:{key}={value}")]
    config = ["--path", "--stack", stack.name, "--plaintext", f"litelab:lab={stack.lab}", *words]
    inside(daemon, stack, "pulumi", "config", "set-all", *config)
    try:
        yield stack
    finally:
        inside(daemon, stack, "pulumi", "stack", "rm", "--yes", "--stack", stack.name)


@contextmanager
def standing(daemon: Daemon | Remote, stack: LabStack) -> Iterator[LabStack]:
    """The lab, up and measured; it goes with its stack."""
    with configured(daemon, stack):
        try:
            inside(daemon, stack, "python3", "-m", "tools.setup", "lab", stack.name, timeout=LAB_S)
            yield stack
        finally:
            inside(daemon, stack, "python3", "-m", "tools.setup", "destroy", stack.name)
