"""Plain Kubernetes from its own modules: the yardstick, and the default lab's distribution.

etcd, API server, controller manager and scheduler on the controller; containerd, kubelet, kube-proxy and flannel on every
host. All run under systemd, from ``/opt/litelab/upstream``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import pulumi
from pydantic import Field, model_validator

from components.contract import Distribution, Host
from components.settings import DEFAULT_MINOR, LabSettings
from components.steps import local_step, publish, remote_step

VERSION = "v1.34.4"
"""What set-up provides (``tools/pins.toml``)."""
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
COREDNS_IMAGE = "docker.io/litelab/coredns:1.14.1"


class UpstreamSettings(LabSettings):
    """A lab of upstream Kubernetes."""

    distribution: Literal["upstream"] = Field("upstream", description="The Kubernetes distribution")

    @model_validator(mode="after")
    def _version_is_there(self) -> UpstreamSettings:
        if self.version is not None and self.version.removeprefix("v") != VERSION.removeprefix("v"):
            msg = f"version is {self.version}, and set-up provides upstream {VERSION} alone; leave version out"
            raise ValueError(msg)
        if self.minor != DEFAULT_MINOR:
            msg = f"minor is {self.minor}, and set-up provides upstream {VERSION} alone; leave minor out"
            raise ValueError(msg)
        if self.controllers != 1:
            msg = f"controllers is {self.controllers}, and upstream labs have one; set it to 1"
            raise ValueError(msg)
        if self.artifacts or self.images:
            msg = "artifacts and images are for distributions that are downloaded; upstream is built by set-up; leave them out"
            raise ValueError(msg)
        return self


class UpstreamCluster(pulumi.ComponentResource):
    """A cluster of upstream Kubernetes on hosts that are given.

    Attributes:
        kubeconfig: the administrator's, a secret; its server is the first controller's address.
        version: what runs.
        nodes: names of the hosts that are its nodes.
        contexts: none, for it is one cluster.
        ready: the last step; who depends on it finds every node Ready and cluster DNS up.
    """

    kubeconfig: pulumi.Output[str]
    version: str
    nodes: list[str]
    contexts: list[str]
    ready: pulumi.Resource

    def __init__(
        self, name: str, args: UpstreamSettings, hosts: list[Host], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("litelab:clusters:UpstreamCluster", name, None, opts)
        stack = pulumi.get_stack()
        scripts = publish("upstream", stack, dry_run=pulumi.runtime.is_dry_run(), also=("shared",))
        controller = hosts[0]
        self.version = VERSION
        self.nodes = [h.name for h in hosts]
        self.contexts = []

        def options(*after: pulumi.Resource, host: Host | None = None) -> pulumi.ResourceOptions:
            gone_with = host.gone_with if host else None
            return pulumi.ResourceOptions(parent=self, depends_on=list(after), deleted_with=gone_with)

        ca = local_step(
            "ca",
            scripts,
            "pki.py",
            arguments=["ca"],
            secret=True,
            opts=options(),
        )
        server = controller.address.apply(lambda address: f"https://{address}:6443")
        certificates: dict[str, pulumi.Output[dict[str, str]]] = {}
        for host in hosts:
            request = pulumi.Output.json_dumps(
                {
                    "ca": ca.stdout.apply(json.loads),
                    "name": host.name,
                    "address": host.address,
                    "role": host.role,
                    "cluster": stack,
                    "server": server,
                    "serviceAddress": SERVICE_ADDRESS,
                }
            )
            issued = local_step(
                f"certificates-{host.name}",
                scripts,
                "pki.py",
                arguments=["host"],
                stdin=pulumi.Output.secret(request),
                secret=True,
                opts=options(),
            )
            certificates[host.name] = pulumi.Output.secret(issued.stdout.apply(json.loads))

        staged = {
            host.name: local_step(
                f"stage-{host.name}",
                scripts,
                "stage.sh",
                arguments=[host.name],
                triggers=[VERSION, host.identity],
                opts=options(host.made, host=host),
            )
            for host in hosts
        }

        common = {
            "POD_CIDR": POD_CIDR,
            "SERVICE_CIDR": SERVICE_CIDR,
            "DNS_ADDRESS": DNS_ADDRESS,
            "COREDNS_IMAGE": COREDNS_IMAGE,
            "INTERNET": str(args.hosts.internet).lower(),
            "CLUSTER": stack,
        }
        control_plane = remote_step(
            "controller",
            controller,
            scripts,
            "controller.sh",
            stdin=_input(common, controller, certificates[controller.name]),
            triggers=[VERSION],
            opts=options(staged[controller.name]),
        )
        nodes = []
        for host in hosts:
            taint = host.role == "controller" and not args.controller_runs_workloads
            nodes.append(
                remote_step(
                    f"node-{host.name}",
                    host,
                    scripts,
                    "node.sh",
                    stdin=_input({**common, "TAINT": str(taint).lower()}, host, certificates[host.name]),
                    # A node registers once: a controller made anew does not know those that ran before it.
                    triggers=[VERSION, controller.identity],
                    opts=options(staged[host.name], control_plane),
                )
            )
        self.ready = remote_step(
            "verify",
            controller,
            scripts,
            "verify.sh",
            stdin=f"NODES={','.join(self.nodes)}\nTAINT={str(not args.controller_runs_workloads).lower()}\n---\n",
            triggers=[VERSION],
            opts=options(*nodes),
        )
        # Only who waited for the last step gets a kubeconfig that works.
        self.kubeconfig = pulumi.Output.secret(
            pulumi.Output.all(certificates[controller.name], self.ready.stdout).apply(lambda x: str(x[0]["kubeconfig"]))
        )
        self.register_outputs({"kubeconfig": self.kubeconfig, "version": self.version})


def _input(values: Mapping[str, str], host: Host, certificates: pulumi.Output[dict[str, Any]]) -> pulumi.Output[str]:
    """A step's standard input: ``KEY=VALUE`` lines, ``---``, then the host's files."""
    lines = "".join(f"{key}={value}\n" for key, value in values.items())
    both = pulumi.Output.all(host.address, certificates)
    return pulumi.Output.secret(both.apply(lambda x: f"{lines}ADDRESS={x[0]}\n---\n{x[1]['files']}\n"))


DISTRIBUTION = Distribution(UpstreamSettings, UpstreamCluster)
