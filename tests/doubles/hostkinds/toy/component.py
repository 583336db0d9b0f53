"""A toy host kind: it makes no machine, and has all that a module in ``components/hosts/`` has to have."""

from __future__ import annotations

from typing import Any, Literal

import pulumi
from pydantic import Field

from components.checks.machine import Machine
from components.config.settings import HostSettings, LabSettings
from components.hosts.host import Host, HostKind, Ssh
from components.steps.scripts import publish
from components.steps.steps import local_step


class ToySettings(HostSettings):
    """Hosts that are not there."""

    kind: Literal["toy"] = Field("toy", description="What the hosts are made of")
    colour: Literal["red", "blue"] = Field("red", description="What only this kind takes")


class ToyHosts(pulumi.ComponentResource):
    """One command a host, and nothing behind it."""

    hosts: list[Host]
    facts: pulumi.Output[dict[str, Any]]

    def __init__(
        self, name: str, args: ToySettings, roles: list[str], purpose: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("toy:hosts:ToyHosts", name, None, opts)
        scripts = publish("nspawn", pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run())
        self.facts = pulumi.Output.from_input({"colour": args.colour})
        self.hosts = []
        for number, role in enumerate(roles, start=1):
            made = local_step(
                f"toy-{number}",
                scripts,
                "host.sh",
                arguments=[f"host-{number}"],
                triggers=[purpose],
                opts=pulumi.ResourceOptions(parent=self),
            )
            ssh = Ssh("root", 22)
            address = pulumi.Output.from_input(f"192.0.2.{number}")
            self.hosts.append(Host(f"host-{number}", role, address, ssh, made.stdout, made))
        self.register_outputs({})


def estimate(lab: LabSettings, machine: Machine) -> str:
    """One line."""
    return f"{lab.host_count} toys on {machine.architecture}"


def problems(lab: LabSettings, machine: Machine, is_new: bool) -> list[str]:
    """Toys are always at hand."""
    return []


KIND = HostKind(ToySettings, ToyHosts, estimate, problems)
