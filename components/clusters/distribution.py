"""A distribution, and the cluster that its component makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import pulumi

from components.config.settings import LabSettings
from components.hosts.host import Host
from components.site.mirrors import Form

LabSettingsT = TypeVar("LabSettingsT", bound=LabSettings)


class Cluster(Protocol):
    """The component of a distribution.

    Attributes:
        kubeconfig: the administrator's, a secret; who has it finds every node Ready and cluster DNS up.
        version: what runs, asked of the cluster.
        nodes: names of the hosts that are its nodes.
        contexts: of the kubeconfig, those that are clusters of their own and share the load; none where all is one cluster.
    """

    kubeconfig: pulumi.Output[str]
    version: pulumi.Output[str]
    nodes: list[str]
    contexts: list[str]


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
        mirrors: the files that lead its container runtime to mirrors; None if there is no such form.
    """

    settings: type[LabSettingsT]
    component: Callable[[str, LabSettingsT, list[Host], pulumi.ResourceOptions], Cluster]
    guide: Guide
    check: Callable[[LabSettingsT], object] = lambda _: None
    needs: Needs | None = None
    mirrors: Form | None = None
