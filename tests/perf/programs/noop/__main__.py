"""Commands that do nothing, in the shape of a lab: what Pulumi itself costs."""

from __future__ import annotations

import os
import signal

import pulumi
from pulumi_command import local

signal.signal(signal.SIGINT, signal.SIG_DFL)

HOSTS = [f"host-{n}" for n in range(1, 4)]


def command(name: str, *after: pulumi.Resource) -> local.Command:
    """One command resource like a lab's."""
    return local.Command(
        name,
        create="true",
        delete="true",
        environment={"STEP": "x", "HOSTS": "3"},
        triggers=["0123456789ab"],
        logging=local.Logging.NONE,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            depends_on=list(after), delete_before_replace=True, additional_secret_outputs=["stdout", "stderr"]
        ),
    )


network, keys = command("network"), command("keys")
hosts = [command(h, network, keys) for h in HOSTS]
if os.environ.get("NOOP_SHAPE") == "cluster":
    ca = command("ca")
    certificates = [command(f"certificates-{h}", ca, network) for h in HOSTS]
    staged = [command(f"stage-{h}", host) for h, host in zip(HOSTS, hosts, strict=True)]
    controller = command("controller", staged[0], certificates[0])
    nodes = [command(f"node-{h}", s, controller) for h, s in zip(HOSTS, staged, strict=True)]
    verify = command("verify", *nodes)
    command("access", verify)
