"""Three OS containers with systemd and sshd, each in a network namespace of its own, on this machine.

They share the machine's kernel: they are hosts to a kubelet, and no security boundary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import local

from components.hosts.host import Host, HostKind, Ssh
from components.hosts.nspawn.requirements import estimate, problems
from components.hosts.nspawn.settings import NspawnSettings
from components.places import cache_folder
from components.steps.digests import short_digest
from components.steps.scripts import publish
from components.steps.steps import local_step

FIRST_ADDRESS = 10
"""host-N has the address PREFIX.(FIRST_ADDRESS + N)."""


def root_image() -> Path:
    """The root image that hosts are made from, its content key in its name."""
    return (cache_folder() / "rootfs" / "current").resolve()


class NspawnHosts(pulumi.ComponentResource):
    """The hosts of a lab, and the network between them.

    Attributes:
        hosts: controllers first, each reachable by ssh once its resource is made.
        facts: none; hosts are as their settings say.
        prefix: first three numbers of the lab's /24.
    """

    hosts: list[Host]
    facts: pulumi.Output[dict[str, Any]]
    prefix: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        args: NspawnSettings,
        roles: list[str],
        purpose: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("litelab:hosts:NspawnHosts", name, None, opts)
        scripts = publish("nspawn", pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run(), also=("ssh",))
        internet = str(args.internet).lower()
        inside = pulumi.ResourceOptions(parent=self)

        # What a host is given must not tell how many there are: a host more would replace all.
        keys = local_step("keys", scripts, "keys.sh", secret=True, opts=inside)
        network = local_step(
            "network",
            scripts,
            "network.sh",
            environment={"INTERNET": internet, "SUBNET": args.subnet or ""},
            opts=inside,
        )
        self.prefix = network.stdout
        self.facts = pulumi.Output.from_input({})
        self.hosts = []
        for number, role in enumerate(roles, start=1):
            host = f"host-{number}"
            made = local_step(
                host,
                scripts,
                "host.sh",
                arguments=[host],
                environment={
                    "INTERNET": internet,
                    "ADDRESS": str(FIRST_ADDRESS + number),
                    "CPUS": str(args.cpus),
                    "MEMORY_MIB": str(args.memory_mib),
                },
                # A new purpose, subnet, image or key replaces the host.
                triggers=[
                    purpose,
                    root_image().name,
                    network.stdout,
                    pulumi.Output.unsecret(keys.stdout.apply(short_digest)),
                ],
                # So does another size: the preview is to say that what is on the host goes.
                opts=pulumi.ResourceOptions.merge(
                    inside, pulumi.ResourceOptions(depends_on=[network, keys], replace_on_changes=["environment"])
                ),
            )
            self.hosts.append(
                Host(
                    name=host,
                    role=role,
                    address=pulumi.Output.concat(self.prefix, f".{FIRST_ADDRESS + number}"),
                    ssh=Ssh(user="root", port=22),
                    identity=_printed(made, "identity"),
                    resource=made,
                )
            )
        self.register_outputs({"prefix": self.prefix})


def _printed(made: local.Command, key: str) -> pulumi.Output[str]:
    """One of the things that ``host.sh`` prints."""
    return made.stdout.apply(lambda text: str(json.loads(text)[key]))


KIND = HostKind(NspawnSettings, NspawnHosts, estimate, problems)
