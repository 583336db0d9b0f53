"""A whole lab: hosts, then a cluster on them, then what is measured on it."""

from __future__ import annotations

import pulumi

from components.benchmarks.component import Benchmarks
from components.config import discovery
from components.config.settings import LabSettings
from components.forwarding import component as forwarding
from components.site import component as site


class Lab(pulumi.ComponentResource):
    """One lab, as the stack's outputs show it."""

    host_summary: pulumi.Output[list[dict[str, str]]]
    cluster_summary: dict[str, pulumi.Input[object]]
    kubeconfig: pulumi.Output[str]
    results: pulumi.Output[object]
    results_dir: str

    def __init__(self, name: str, args: LabSettings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("litelab:lab:Lab", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        roles = ["controller"] * args.controllers + ["worker"] * args.workers
        distribution = discovery.distribution(args.distribution)
        distribution.check(args)
        made = discovery.host_kind(args.hosts.kind).component("hosts", args.hosts, roles, args.distribution, inside)
        hosts = site.prepared("site", args, made.hosts, inside)
        cluster = forwarding.through_machine(
            "reach", distribution.component("cluster", args, hosts, inside), hosts, inside
        )
        measured = Benchmarks("benchmarks", args, hosts, made.facts, cluster, opts=inside)

        self.host_summary = pulumi.Output.all(
            *[{"name": h.name, "role": h.role, "address": h.address, "kind": args.hosts.kind} for h in made.hosts]
        )
        self.cluster_summary = {
            "distribution": args.distribution,
            "version": cluster.version,
            "nodes": cluster.nodes,
        }
        self.kubeconfig = cluster.kubeconfig
        self.results = measured.results
        self.results_dir = measured.results_dir
        self.register_outputs({"hosts": self.host_summary, "cluster": self.cluster_summary})
