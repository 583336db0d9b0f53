"""Three OS containers with systemd and sshd, each in a network namespace of its own, on this machine.

They share the machine's kernel: they are hosts to a kubelet, and no security boundary.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pulumi

from components.settings import HostSettings
from components.steps import PROJECT, Host, Ssh, local_step, publish

FIRST_ADDRESS = 10
"""host-N has the address PREFIX.(FIRST_ADDRESS + N)."""


def root_image() -> Path:
    """The root image that hosts are made from, its content key in its name."""
    cache = Path(os.environ.get("LITELAB_CACHE") or PROJECT / ".cache")
    return (cache / "rootfs" / "current").resolve()


class NspawnHosts(pulumi.ComponentResource):
    """The hosts of a lab, and the network between them.

    Attributes:
        hosts: controllers first, each reachable by ssh once its resource is made.
        prefix: first three numbers of the lab's /24.
    """

    hosts: list[Host]
    prefix: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        args: HostSettings,
        roles: list[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("litelab:hosts:NspawnHosts", name, None, opts)
        scripts = publish("nspawn", pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run())
        common = {"HOSTS": str(len(roles)), "INTERNET": str(args.internet).lower()}
        inside = pulumi.ResourceOptions(parent=self)

        keys = local_step("keys", scripts, "keys.sh", environment={"HOSTS": common["HOSTS"]}, secret=True, opts=inside)
        pairs: pulumi.Output[dict[str, Any]] = pulumi.Output.secret(keys.stdout.apply(json.loads))
        network = local_step(
            "network", scripts, "network.sh", environment={**common, "SUBNET": args.subnet or ""}, opts=inside
        )
        self.prefix = network.stdout
        self.hosts = []
        for number, role in enumerate(roles, start=1):
            host = f"host-{number}"
            made = local_step(
                host,
                scripts,
                "host.sh",
                arguments=[host],
                environment={
                    **common,
                    "ADDRESS": str(FIRST_ADDRESS + number),
                    "CPUS": str(args.cpus),
                    "MEMORY_MIB": str(args.memory_mib),
                },
                stdin=_key(pairs, "hosts", host, "private"),
                # A new subnet or image is a new machine.
                triggers=[root_image().name, network.stdout],
                opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[network, keys])),
            )
            self.hosts.append(
                Host(
                    name=host,
                    role=role,
                    address=pulumi.Output.concat(self.prefix, f".{FIRST_ADDRESS + number}"),
                    ssh=Ssh(
                        user="root",
                        port=22,
                        private_key=_key(pairs, "client", "private"),
                        host_key=_key(pairs, "hosts", host, "public"),
                    ),
                    identity=made.stdout,
                    made=made,
                )
            )
        self.register_outputs({"prefix": self.prefix})


def _key(pairs: pulumi.Output[dict[str, Any]], *path: str) -> pulumi.Output[str]:
    """One key out of what ``keys.sh`` prints."""

    def pick(value: Any) -> str:
        for part in path:
            value = value[part]
        return str(value)

    return pairs.apply(pick)
