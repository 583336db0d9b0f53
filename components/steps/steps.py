"""Steps: scripts as command resources, short and constant in state.

Commands name their script by a path relative to the project, so a moved checkout changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_command import local

from components.hosts.host import Host
from components.steps.scripts import Scripts


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
    subscription does, is deleted on it even when the host goes. ``components/ssh/scripts/remote.sh`` takes it there.
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
            pulumi.ResourceOptions(deleted_with=None if outlives else host.deleted_with), opts
        ),
    )
