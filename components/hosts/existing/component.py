"""Hosts that are there already, reached by ssh: bare metal, machines of any cloud, or of another lab.

They are inspected before anything on them changes, and compared. The lab's own steps change them, and undo that in the end; the
inventories of before and after show it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pulumi

from components.config import discovery
from components.config.settings import SettingsError
from components.forwarding import component as forwarding
from components.hosts.existing.known_hosts import parse_known_key
from components.hosts.existing.requirements import estimate, problems, wrong_number
from components.hosts.existing.settings import ExistingSettings
from components.hosts.host import Host, HostKind, Ssh
from components.steps.scripts import publish
from components.steps.steps import local_step


class ExistingHosts(pulumi.ComponentResource):
    """Existing hosts.

    Attributes:
        hosts: controllers first; each is in this lab's use once its resource is made.
        facts: sizes as they are, and whether the hosts are alike.
    """

    hosts: list[Host]
    facts: pulumi.Output[dict[str, Any]]

    def __init__(
        self,
        name: str,
        args: ExistingSettings,
        roles: list[str],
        purpose: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        wrong = wrong_number(args, roles.count("controller"), roles.count("worker"))
        if wrong:
            msg = f"{wrong}. Nothing was made."
            raise SettingsError(msg)
        super().__init__("litelab:hosts:ExistingHosts", name, None, opts)
        scripts = publish("existing", pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run(), also=("ssh",))
        inside = pulumi.ResourceOptions(parent=self)
        known = {line: parse_known_key(line) for line in args.host_keys}

        found: dict[str, pulumi.Output[Mapping[str, Any]]] = {}
        if args.bastion and not pulumi.runtime.is_dry_run():
            # What measures dials the port that the state has.
            forwarding.reopen(pulumi.get_stack())
        for number, given in enumerate(args.addresses, start=1):
            host, address = f"host-{number}", given.at
            # Its own lines alone: with those of all hosts, a state would grow with the square of their number.
            own = [line for line, key in known.items() if key.is_of(address)]
            asked = local_step(
                f"facts-{host}",
                scripts,
                "facts.py",
                arguments=[host],
                environment={
                    "ADDRESS": str(address),
                    "LOGIN": given.user or args.user,
                    # From ~, it is of no machine.
                    "KEY": given.key or args.key or "",
                    **_more(args),
                    "CPUS": str(args.cpus),
                    "MEMORY_MIB": str(args.memory_mib),
                    "USE": json.dumps(use_of(purpose, internet=args.internet)),
                },
                stdin="\n".join([*own, *(["---", *args.bastion.host_keys] if args.bastion else [])]),
                # What is on the host at another address stays there, and what was on this one goes first.
                triggers=[str(address)],
                opts=inside,
            )
            found[host] = asked.stdout.apply(json.loads)

        alike = local_step(
            "alike",
            scripts,
            "alike.py",
            environment={
                "ALLOW_DIFFERENT": str(args.allow_different).lower(),
                **({"OWN_NAMES": "true"} if use_of(purpose, internet=args.internet).get("own_names") else {}),
            },
            stdin=pulumi.Output.json_dumps(found),
            opts=inside,
        )
        self.facts = alike.stdout.apply(json.loads)
        self.hosts = []
        for (host, facts), role, given in zip(found.items(), roles, args.addresses, strict=True):
            made = local_step(
                host,
                scripts,
                "host.sh",
                arguments=[host],
                # Given back before it is taken for another use, and what was installed for the old one goes first.
                triggers=[purpose, facts.apply(_machine)],
                opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[alike])),
            )
            self.hosts.append(
                Host(
                    name=host,
                    role=role,
                    address=facts.apply(lambda known: str(known["address"])),
                    ssh=Ssh(
                        user=given.user or args.user,
                        port=given.at.port,
                        # From a host of the lab all API servers are reached.
                        jump_host="lab://host-1" if args.bastion else "",
                    ),
                    identity=made.stdout,
                    resource=made,
                    preexisting=True,
                )
            )
        self.register_outputs({"facts": self.facts})


def _more(args: ExistingSettings) -> dict[str, str]:
    """Settings of an agent and a bastion, for labs that have them."""
    told = {"AGENT": "yes"} if args.agent else {}
    if args.bastion:
        jump = {"ADDRESS": str(args.bastion.at), "LOGIN": args.bastion.user or "root"}
        told |= {f"JUMP_{key}": value for key, value in {**jump, "KEY": args.bastion.key or args.key or ""}.items()}
    return told


def use_of(distribution: str, *, internet: bool) -> dict[str, Any]:
    """What hosts are for, so that they can be refused by it."""
    needs = discovery.distribution(distribution).needs if distribution in discovery.distributions() else None
    return {"distribution": distribution, "internet": internet, **(dataclasses.asdict(needs) if needs else {})}


def _machine(facts: Mapping[str, Any]) -> str:
    return f"{facts['address']} {facts['machineId']}"


KIND = HostKind(ExistingSettings, ExistingHosts, estimate, problems)
