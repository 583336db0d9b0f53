"""What the parts of a lab agree on: a host, a kind of hosts, a distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import pulumi

from components.machine import Machine
from components.settings import HostSettings, LabSettings

HostSettingsT = TypeVar("HostSettingsT", bound=HostSettings)
LabSettingsT = TypeVar("LabSettingsT", bound=LabSettings)


@dataclass(frozen=True)
class Ssh:
    """How the operator logs in to a host. Steps use the run folder's ``ssh_config`` alone, which has the same.

    Attributes:
        user: as whom.
        port: at the host's address.
        through: the machine through which the operator reaches the host, as ``components/scripts/forward/forward.py``
            takes it, else nothing. Hosts reach each other by their addresses all the same.
    """

    user: str
    port: int
    through: str = ""


@dataclass(frozen=True)
class Host:
    """One host of a lab.

    Attributes:
        name: what the lab calls it, ``host-1`` and so on; where its hostname is another, ``/var/lib/litelab/name`` on it has this one.
        role: ``controller`` or ``worker``.
        address: its IPv4 address between the hosts, known once it is made.
        ssh: how to log in.
        identity: new whenever the host is made anew, so that what is on it is installed again.
        made: the resource that makes it, or takes it for the lab.
        lives_on: it is there after the lab, so what was installed on it must be removed from it.
    """

    name: str
    role: str
    address: pulumi.Output[str]
    ssh: Ssh
    identity: pulumi.Output[str]
    made: pulumi.Resource
    lives_on: bool = False

    @property
    def gone_with(self) -> pulumi.Resource | None:
        """For ``deleted_with``: whose removal takes along all that is on the host; None where each step must undo its own."""
        return None if self.lives_on else self.made


class Hosts(Protocol):
    """The component of a host kind: makes the hosts and the network between them.

    It also leaves ``ssh_config`` in the stack's run folder, with each host by its name: ``ssh -F ssh_config host-1``.

    Attributes:
        hosts: one a role, in that order.
        facts: what results must carry of the hosts beside their settings; a key of the settings' own name replaces it.
    """

    hosts: list[Host]
    facts: pulumi.Output[dict[str, Any]]


class Cluster(Protocol):
    """The component of a distribution.

    Attributes:
        kubeconfig: the administrator's, a secret; who has it finds every node Ready and cluster DNS up.
        version: what runs.
        nodes: names of the hosts that are its nodes.
        contexts: of the kubeconfig, those that are clusters of their own and share the load; none where all is one cluster.
    """

    kubeconfig: pulumi.Output[str]
    version: str
    nodes: list[str]
    contexts: list[str]


@dataclass(frozen=True)
class HostKind(Generic[HostSettingsT]):
    """One way to get hosts.

    Attributes:
        settings: what ``hosts:`` takes in a lab's file.
        component: called with name, the hosts' settings, a role for each host (controllers first), their use, and options. Another use makes
            hosts anew, or gives those that live on back first: what one distribution leaves on a host is not the next one's business.
        estimate: one line of what a lab will take, beside what there is on this machine.
        problems: why a lab can't be made on this machine, each with its cure; given whether its hosts are still to be made.
    """

    settings: type[HostSettingsT]
    component: Callable[[str, HostSettingsT, list[str], str, pulumi.ResourceOptions], Hosts]
    estimate: Callable[[LabSettings, Machine], str]
    problems: Callable[[LabSettings, Machine, bool], list[str]]


@dataclass(frozen=True)
class Guide:
    """Where a person looks on a distribution's hosts: what ``make status``, ``make logs`` and hints go by.

    Attributes:
        controller: systemd units of a controller, each without ``.service``; the first one's journal tells most.
        worker: likewise of a worker.
        node: units that a host has besides, when it is a node.
        kubectl: a command on a controller that reaches the API server as administrator.
    """

    controller: tuple[str, ...]
    worker: tuple[str, ...]
    kubectl: str
    node: tuple[str, ...] = ()


@dataclass(frozen=True)
class Needs:
    """What a distribution needs of every host, so that hosts can be refused before anything on them changes.

    Attributes:
        pods: the cluster's network of pods, which no host may be in.
        services: that of its services.
        programs: that must be on a host.
        copies: the folders below the cache, as a pattern, whose ``bin`` and ``cni`` are copied to hosts, or ``""``: their C library must be new enough.
        own_names: nodes have the hosts' own names, which must then be names that Kubernetes takes.
        has_dns: its DNS asks a resolver of the hosts' even without ``hosts.internet``.
    """

    pods: str
    services: str
    programs: tuple[str, ...] = ()
    copies: str = ""
    own_names: bool = False
    has_dns: bool = True


@dataclass(frozen=True)
class Distribution(Generic[LabSettingsT]):
    """One Kubernetes distribution.

    Attributes:
        settings: what a lab's file takes.
        component: called with name, the lab's settings, its hosts (controllers first), and options.
        guide: where to look on its hosts.
        check: called before anything is declared; raises a SettingsError for what can be seen to fail.
        needs: what it needs of every host.
    """

    settings: type[LabSettingsT]
    component: Callable[[str, LabSettingsT, list[Host], pulumi.ResourceOptions], Cluster]
    guide: Guide
    check: Callable[[LabSettingsT], object] = lambda _: None
    needs: Needs | None = None
