"""Steps: scripts as command resources, short and constant in state.

A part's scripts (``components/scripts/<part>``, for a distribution also ``components/scripts/shared``) are copied to
``.lab/run/<stack>/<part>-<hash>`` when the program runs.
The hash is what makes a step run again; the copy is what an older lab's ``delete`` still finds. Commands name their
script by a path relative to the project, so a moved checkout changes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pulumi
from pulumi_command import local

from components.contract import Host
from components.digests import digest_of

PROJECT = Path(__file__).resolve().parent.parent
SCRIPTS = PROJECT / "components" / "scripts"
SITE = PROJECT / ".lab" / "site.yaml"
"""What all labs of the checkout share."""


@dataclass(frozen=True)
class Scripts:
    """One part's scripts, as a stack uses them.

    Attributes:
        part: folder name below ``components/scripts``.
        digest: first 12 hex digits of the SHA-256 over names, modes and contents.
        folder: where the stack's copy is, relative to the project.
    """

    part: str
    digest: str
    folder: str


def cache_folder() -> Path:
    """Where set-up keeps what can be rebuilt."""
    return Path(os.environ.get("LITELAB_CACHE") or PROJECT / ".cache")


def run_folder(stack: str) -> Path:
    """The stack's run folder, relative to the project: keys, ssh configuration, host disks, copied scripts."""
    return Path(".lab") / "run" / stack


def publish(part: str, stack: str, *, dry_run: bool, also: Sequence[str] = ()) -> Scripts:
    """Copy a part's scripts into the stack's run folder, unless that very content is there; a preview copies nothing.

    Those of the folders in ``also``, which several parts have in common, come too; the part's own win.
    """
    sources = [SCRIPTS / name for name in (*also, part)]
    digest = digest_of(*sources)
    folder = run_folder(stack) / f"{part}-{digest}"
    target = PROJECT / folder
    if not dry_run and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = Path(mkdtemp(dir=target.parent, prefix=f".{part}-"))
        for source in sources:
            shutil.copytree(source, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        copy.chmod(0o755)
        copy.replace(target)
    return Scripts(part, digest, str(folder))


def local_step(
    name: str,
    scripts: Scripts,
    script: str,
    *,
    arguments: Sequence[str] = (),
    environment: Mapping[str, pulumi.Input[str]] | None = None,
    stdin: pulumi.Input[str] | None = None,
    triggers: Sequence[Any] = (),
    secret: bool = False,
    delete: bool = True,
    opts: pulumi.ResourceOptions | None = None,
) -> local.Command:
    """A script on the operator's machine: ``SCRIPT create ARGUMENTS`` and, at the end unless ``delete`` is false, ``SCRIPT delete ARGUMENTS``.

    Its output is a secret of the state when ``secret``; no output is ever logged, for a line may be long or secret.
    """
    words = " ".join(arguments)
    return local.Command(
        name,
        create=f'"$STEP" create {words}'.rstrip(),
        delete=f'"$STEP" delete {words}'.rstrip() if delete else None,
        environment={"STEP": f"{scripts.folder}/{script}", **(environment or {})},
        stdin=stdin,
        triggers=[scripts.digest, *triggers],
        logging=local.Logging.NONE if secret else local.Logging.STDERR,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(
            pulumi.ResourceOptions(
                delete_before_replace=True, additional_secret_outputs=["stdout", "stderr"] if secret else None
            ),
            opts,
        ),
    )


def remote_step(
    name: str,
    host: Host,
    scripts: Scripts,
    script: str,
    *,
    stdin: pulumi.Input[str] | None = None,
    delete: bool = False,
    outlives: bool = False,
    triggers: Sequence[Any] = (),
    opts: pulumi.ResourceOptions | None = None,
) -> local.Command:
    """A script that root runs on a host, where the part's ``stage`` step put it: ``SCRIPT create``, and ``SCRIPT delete`` if it has one.

    Standard input carries settings and secrets. Output is kept secret and off the console. What ``outlives`` its host, as a
    subscription does, is deleted on it even when the host goes. ``components/scripts/ssh/remote.sh`` takes it there.
    """
    return local_step(
        name,
        scripts,
        "remote.sh",
        arguments=[host.name, script],
        stdin=stdin,
        triggers=[host.identity, *triggers],
        secret=True,
        delete=delete,
        opts=pulumi.ResourceOptions.merge(
            pulumi.ResourceOptions(deleted_with=None if outlives else host.gone_with), opts
        ),
    )
