"""MicroK8s: Canonical's distribution, a snap. Clusters are made of installed single nodes, which join one after another.

Installed from the store's channel of the minor, at a revision when ``version`` names one, or from staged files.
"""

from __future__ import annotations

from typing import Literal

import pulumi
from pydantic import Field

from components.clusters.distribution import Distribution, Guide, Needs
from components.clusters.installation_phases import InstalledCluster, InstalledSettings, Traits, check
from components.hosts.host import Host
from components.site.mirrors import containerd

API_PORT = 16443
AGENT_PORT = 25000


class Microk8sSettings(InstalledSettings):
    """A lab of MicroK8s."""

    distribution: Literal["microk8s"] = Field("microk8s", description="The Kubernetes distribution")
    risk: Literal["stable", "candidate", "beta", "edge"] = Field(
        "stable", description="The risk level of the store's channel; its track is the minor"
    )


NEEDS = Needs(pods="10.1.0.0/16", services="10.152.183.0/24", programs=("snap",), own_names=True)
TRAITS = Traits(
    ports=(API_PORT, AGENT_PORT, 10250, 10257, 10259),
    api_port=API_PORT,
    memory_mib=1000,
    disk_mib=2500,
    # A join restarts the datastore and the API server.
    workers_join_together=False,
    values=lambda args: {"RISK": args.risk},
    prepare_values=lambda args: {"ADDONS": args.addons, "RISK": args.risk},
    # The snap is downloaded there.
    prepare_s=900,
)


class Microk8sCluster(InstalledCluster):
    """A cluster of MicroK8s on hosts that are given; every host is a node, and a controller without workloads is tainted."""

    def __init__(
        self, name: str, args: Microk8sSettings, hosts: list[Host], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("litelab:clusters:Microk8sCluster", name, TRAITS, args, hosts, opts)


GUIDE = Guide(
    controller=("snap.microk8s.daemon-kubelite", "snap.microk8s.daemon-k8s-dqlite"),
    worker=("snap.microk8s.daemon-kubelite",),
    node=("snap.microk8s.daemon-containerd",),
    kubectl="/snap/bin/microk8s kubectl",
)
DISTRIBUTION = Distribution(Microk8sSettings, Microk8sCluster, GUIDE, check, NEEDS, mirrors=containerd)
