"""K3s, by its own installer and units.

The datastore is SQLite with one controller, embedded etcd with three. Agents join with tokens of their own, which end within the
hour and are deleted when they have joined. By default the controller keeps workloads off by a taint and is a node all the same;
``agentless: true`` leaves it without kubelet, which K3s calls experimental.
"""

from __future__ import annotations

from typing import Literal

import pulumi
from pydantic import Field, model_validator

from components.clusters.distribution import Distribution, Guide, Needs
from components.clusters.installation_phases import InstalledCluster, InstalledSettings, Traits, check
from components.clusters.k3s.mirrors import registries_yaml
from components.hosts.host import Host


class K3sSettings(InstalledSettings):
    """A lab of K3s."""

    distribution: Literal["k3s"] = Field("k3s", description="The Kubernetes distribution")
    agentless: bool = Field(
        False, description="Experimental in K3s: a controller without kubelet, which is no node (--disable-agent)"
    )

    @model_validator(mode="after")
    def _agentless_runs_no_pods(self) -> K3sSettings:
        if self.agentless and self.controller_runs_workloads:
            msg = "agentless and controllerRunsWorkloads exclude each other: without a kubelet a controller runs no pods; leave one out"
            raise ValueError(msg)
        return self


def _nodes(args: K3sSettings, hosts: list[Host]) -> list[Host]:
    return [h for h in hosts if h.role == "worker" or not args.agentless]


NEEDS = Needs(pods="10.42.0.0/16", services="10.43.0.0/16")
TRAITS = Traits(
    ports=(6443, 6444, 10250, 10010, 10248, 10249, 10256),
    memory_mib=1000,
    nodes=_nodes,
    after_controllers="rotate.sh",
    values=lambda args: {"AGENTLESS": str(args.agentless).lower()},
)


class K3sCluster(InstalledCluster):
    """A cluster of K3s on hosts that are given."""

    def __init__(
        self, name: str, args: K3sSettings, hosts: list[Host], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("litelab:clusters:K3sCluster", name, TRAITS, args, hosts, opts)


GUIDE = Guide(controller=("k3s",), worker=("k3s-agent",), kubectl="k3s kubectl --kubeconfig=/etc/rancher/k3s/k3s.yaml")
DISTRIBUTION = Distribution(K3sSettings, K3sCluster, GUIDE, check, NEEDS, mirrors=registries_yaml)
