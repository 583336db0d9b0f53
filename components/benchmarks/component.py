"""What is measured on a lab: one command resource a workload, strictly one after another."""

from __future__ import annotations

import json
from typing import Any

import pulumi

from components.benchmarks import workload_files
from components.clusters.distribution import Cluster
from components.config.settings import LabSettings
from components.hosts.host import Host
from components.steps.digests import short_digest
from components.steps.scripts import publish
from components.steps.steps import local_step

SCHEMA_VERSION = 1


class Benchmarks(pulumi.ComponentResource):
    """Runs the lab's workloads in the given order.

    Attributes:
        results: ``{"schemaVersion", "measuredAt": {name: UTC}, "workloads": {name: summary}}``; ``benchmarks`` defines a summary.
        results_dir: where raw samples are, relative to the project.
    """

    results: pulumi.Output[object]
    results_dir: str

    def __init__(
        self,
        name: str,
        args: LabSettings,
        hosts: list[Host],
        facts: pulumi.Output[dict[str, Any]],
        cluster: Cluster,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("litelab:benchmarks:Benchmarks", name, None, opts)
        stack = pulumi.get_stack()
        scripts = publish("benchmarks", stack, dry_run=pulumi.runtime.is_dry_run(), also=("ssh",))
        inside = pulumi.ResourceOptions(parent=self)
        kubeconfig = cluster.kubeconfig
        described = _hosts(args, hosts, facts, cluster.version)
        access = local_step(
            "access",
            scripts,
            "access.py",
            stdin=pulumi.Output.secret(pulumi.Output.json_dumps({"kubeconfig": kubeconfig, "hosts": described})),
            secret=True,
            opts=inside,
        )
        # What was measured on another cluster, on hosts made otherwise or replaced, says nothing of this lab.
        measured_on = pulumi.Output.json_dumps(
            {"kubeconfig": kubeconfig, "facts": described["facts"], "hosts": [h.identity for h in hosts]}
        ).apply(short_digest)
        environment = {"REPEATS": str(args.repeats)}
        if cluster.contexts:
            environment["CONTEXTS"] = " ".join(cluster.contexts)
        before: pulumi.Resource = access
        summaries: dict[str, pulumi.Output[Any]] = {}
        for workload in args.workloads:
            step = local_step(
                f"workload-{workload.replace('/', '-')}",
                scripts,
                "run.sh",
                arguments=[workload],
                environment=environment,
                triggers=[workload_files.digest(workload), measured_on],
                opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[before])),
            )
            summaries[workload] = step.stdout.apply(json.loads)
            before = step
        measured_at = {name: summary.apply(_finished) for name, summary in summaries.items()}
        self.results = pulumi.Output.from_input(
            {"schemaVersion": SCHEMA_VERSION, "measuredAt": measured_at, "workloads": summaries}
        )
        self.results_dir = f".lab/results/{stack}"
        self.register_outputs({"resultsDir": self.results_dir})


def _finished(summary: dict[str, Any]) -> str:
    return str(summary.get("finished_at", ""))


def _hosts(
    args: LabSettings, hosts: list[Host], facts: pulumi.Output[dict[str, Any]], version: pulumi.Output[str]
) -> dict[str, Any]:
    settings = {
        "addons": args.addons,
        "controllers": args.controllers,
        "cpus": args.hosts.cpus,
        "memoryMib": args.hosts.memory_mib,
        "controllerRunsWorkloads": args.controller_runs_workloads,
        "internet": args.hosts.internet,
        **args.hosts.facts(),
    }
    return {
        "schemaVersion": 1,
        "kind": args.hosts.kind,
        "stack": pulumi.get_stack(),
        "facts": pulumi.Output.all(version, facts).apply(
            lambda x: {"distribution": args.distribution, "version": x[0], **settings, **x[1]}
        ),
        "hosts": [
            {"name": h.name, "role": h.role, "address": h.address, "port": h.ssh.port, "user": h.ssh.user}
            for h in hosts
        ],
    }
