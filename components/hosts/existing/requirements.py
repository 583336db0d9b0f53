"""Why a lab of hosts that are there already can't be driven from this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from components.checks.machine import Machine
from components.config.settings import LabSettings
from components.hosts.existing.settings import ExistingSettings


def estimate(lab: LabSettings, machine: Machine) -> str:  # noqa: ARG001 - the hosts are elsewhere
    """One line: whose hosts the lab will use."""
    hosts = _of(lab)
    return f"{len(hosts.addresses)} hosts that exist ({', '.join(h.address for h in hosts.addresses)}), {_logins(hosts)}; this machine only drives them"


def problems(lab: LabSettings, machine: Machine, is_new: bool) -> list[str]:  # noqa: ARG001 - nothing of the machine's is taken
    """Why the lab can't be driven from here, each with its fix."""
    hosts = _of(lab)
    found = [wrong_number(hosts, lab.controllers, lab.workers), _agent_problem() if hosts.agent else ""]
    found += [_key_problem(setting, Path(key).expanduser(), hosts.agent) for setting, key in hosts.named_keys()]
    return [text for text in found if text]


def _logins(hosts: ExistingSettings) -> str:
    users = dict.fromkeys(host.user or hosts.user for host in hosts.addresses)
    through = f", through {hosts.bastion.at}" if hosts.bastion else ""
    return f"as {' and '.join(users)}{through}"


def _agent_problem() -> str:
    """Why the operator's agent could not be asked for a key."""
    if not os.environ.get("SSH_AUTH_SOCK"):
        return (
            "hosts.agent is true, and SSH_AUTH_SOCK is not set, so there is no agent here: start one and give it the key (ssh-add), or name the "
            "key as hosts.key. sudo drops the variable: 'sudo --preserve-env=SSH_AUTH_SOCK make lab'; hosts of this kind need no root"
        )
    tried = subprocess.run(["ssh-add", "-l"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if tried.returncode == 0:
        return ""
    said = " ".join((tried.stdout + tried.stderr).split()) or "it does not answer"
    return f"hosts.agent is true, and the agent at SSH_AUTH_SOCK has no key for the lab ({said}): give it the key (ssh-add FILE)"


def _of(lab: LabSettings) -> ExistingSettings:
    assert isinstance(lab.hosts, ExistingSettings)
    return lab.hosts


def wrong_number(args: ExistingSettings, controllers: int, workers: int) -> str:
    """Why the addresses are not as many as the lab's hosts, with the fix, or nothing."""
    have, needed = len(args.addresses), controllers + workers
    if have == needed:
        return ""
    fix = f", or set workers to {have - controllers}" if have >= controllers else ""
    return f"hosts.addresses names {have}, and controllers ({controllers}) and workers ({workers}) are {needed}: correct it{fix}"


def _key_problem(setting: str, path: Path, agent: bool) -> str:
    """Why ssh could not use the key by itself."""
    try:
        mode = path.stat().st_mode
        path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        return f"{setting}: {path} can't be read ({why}): name the private key that the hosts know"
    if agent and path.suffix == ".pub":
        # ssh asks the agent for this one.
        return ""
    if mode & 0o077:
        return f"{setting}: others may read {path} (its mode is {mode & 0o777:o}), so ssh will not use it: chmod 600 {path}"
    tried = subprocess.run(
        ["ssh-keygen", "-y", "-P", "", "-f", str(path)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if tried.returncode == 0:
        return ""
    if "passphrase" in tried.stderr and agent:
        return ""
    if "passphrase" in tried.stderr:
        return f"{setting}: {path} has a passphrase, which nobody is there to type: give it to your agent and set hosts.agent: true, or give the lab a key of its own (ssh-keygen -t ed25519 -N '' -f FILE)"
    return (
        f"{setting}: {path} is no private key ({' '.join(tried.stderr.split())[-100:]}): name one that ssh-keygen made"
    )
