"""A host of a lab, and a kind of hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import pulumi

from components.checks.machine import Machine
from components.config.settings import HostSettings, LabSettings

HostSettingsT = TypeVar("HostSettingsT", bound=HostSettings)


@dataclass(frozen=True)
class Ssh:
    """How the operator logs in to a host. Steps use the run folder's ``ssh_config`` alone, which has the same.

    Attributes:
        user: as whom.
        port: at the host's address.
        jump_host: the machine through which the operator reaches the host, as ``components/forwarding/scripts/forward.py``
            takes it, else nothing. Hosts reach each other by their addresses all the same.
    """

    user: str
    port: int
    jump_host: str = ""


@dataclass(frozen=True)
class Host:
    """One host of a lab.

    Attributes:
        name: what the lab calls it, ``host-1`` and so on; where its hostname is another, ``/var/lib/litelab/name`` on it has this one.
        role: ``controller`` or ``worker``.
        address: its IPv4 address between the hosts, known once it is made.
        ssh: how to log in.
        identity: changes whenever the host is replaced, so that everything on it is installed again.
        resource: the resource that makes it, or takes it for the lab.
        preexisting: it was there before the lab and stays after it, so each step must undo its own work.
    """

    name: str
    role: str
    address: pulumi.Output[str]
    ssh: Ssh
    identity: pulumi.Output[str]
    resource: pulumi.Resource
    preexisting: bool = False

    @property
    def deleted_with(self) -> pulumi.Resource | None:
        """Value of ``deleted_with`` for steps on the host; None if each step must undo its own work."""
        return None if self.preexisting else self.resource


class Hosts(Protocol):
    """The component of a host kind: makes the hosts and the network between them.

    It also leaves ``ssh_config`` in the stack's run folder, with each host by its name: ``ssh -F ssh_config host-1``.

    Attributes:
        hosts: one a role, in that order.
        facts: what results must carry of the hosts beside their settings; a key of the settings' own name replaces it.
    """

    hosts: list[Host]
    facts: pulumi.Output[dict[str, Any]]


@dataclass(frozen=True)
class HostKind(Generic[HostSettingsT]):
    """One way to get hosts.

    Attributes:
        settings: what ``hosts:`` takes in a lab's file.
        component: called with name, the hosts' settings, a role for each host (controllers first), their
            purpose (the distribution), and options. Another purpose replaces the hosts, or resets those that are preexisting first.
        estimate: one line of what a lab will take, beside what there is on this machine.
        problems: why a lab can't be made on this machine, each with its fix; given whether its hosts are still to be made.
    """

    settings: type[HostSettingsT]
    component: Callable[[str, HostSettingsT, list[str], str, pulumi.ResourceOptions], Hosts]
    estimate: Callable[[LabSettings, Machine], str]
    problems: Callable[[LabSettings, Machine, bool], list[str]]
