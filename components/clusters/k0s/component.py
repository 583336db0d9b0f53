"""k0s, by its own binary, units and join tokens.

The datastore is embedded etcd, the network kube-router. A controller that runs no workloads has no kubelet and is no node:
``kubectl get nodes`` shows the workers alone. Each host joins with a token of its own, which ends within the hour and is
invalidated when it has joined.
"""

from __future__ import annotations

from typing import Literal

import pulumi
from pydantic import Field

from components.clusters.distribution import Distribution, Guide, Needs
from components.clusters.installation_phases import InstalledCluster, InstalledSettings, Traits, check
from components.hosts.host import Host
from components.site.mirrors import containerd


class K0sSettings(InstalledSettings):
    """A lab of k0s."""

    distribution: Literal["k0s"] = Field("k0s", description="The Kubernetes distribution")
    failover: bool = Field(
        True,
        description="With three controllers, workers reach another one when theirs is down, by k0s's own balancer (its Envoy image)",
    )


def _nodes(args: K0sSettings, hosts: list[Host]) -> list[Host]:
    return [h for h in hosts if h.role == "worker" or args.controller_runs_workloads]


NEEDS = Needs(pods="10.244.0.0/16", services="10.96.0.0/12", programs=("gzip",))
TRAITS = Traits(
    ports=(2380, 6443, 8132, 9443, 10250),
    memory_mib=1000,
    nodes=_nodes,
    values=lambda args: {"FAILOVER": str(args.failover).lower()},
)


class K0sCluster(InstalledCluster):
    """A cluster of k0s on hosts that are given."""

    def __init__(
        self, name: str, args: K0sSettings, hosts: list[Host], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("litelab:clusters:K0sCluster", name, TRAITS, args, hosts, opts)


GUIDE = Guide(
    controller=("k0scontroller",),
    worker=("k0sworker",),
    kubectl="k0s kubectl --kubeconfig=/var/lib/k0s/pki/admin.conf",
)
DISTRIBUTION = Distribution(K0sSettings, K0sCluster, GUIDE, check, NEEDS, mirrors=containerd)
