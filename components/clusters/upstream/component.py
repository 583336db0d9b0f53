"""Plain Kubernetes from its own modules: the yardstick, and the default lab's distribution.

etcd, API server, controller manager and scheduler on each controller; containerd, kubelet, kube-proxy and flannel on every
host. All run under systemd, from ``/opt/litelab/upstream``. The etcds of several controllers are one cluster, made at once: when a
controller is replaced, so is the cluster.

Set-up builds the version; the step ``artifacts`` finds it. No other step but ``upgrade`` knows it: a changed version upgrades host by
host, controllers first, and installs nothing again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pulumi
from pydantic import Field, model_validator

from components.catalog import pins
from components.clusters.distribution import Distribution, Guide, Needs
from components.clusters.kubeconfig import with_contexts
from components.clusters.phased_cluster import PhasedCluster, key_value_lines
from components.config.settings import LabSettings
from components.hosts.host import Host
from components.site.mirrors import containerd
from components.steps.digests import short_digest
from components.steps.steps import local_step, remote_step

POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
COREDNS_IMAGE = "docker.io/litelab/coredns:1.14.1"
ENDPOINT = "controllers.litelab"
"""What nodes call the API of several controllers: it stands for all their addresses in the hosts' ``/etc/hosts``, which Go's
clients try one after another."""


class UpstreamSettings(LabSettings):
    """A lab of upstream Kubernetes."""

    distribution: Literal["upstream"] = Field("upstream", description="The Kubernetes distribution")

    @model_validator(mode="before")
    @classmethod
    def _version_says_the_minor(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("minor") is None:
            found = re.match(r"v?(1\.\d+)\.", str(values.get("version") or ""))
            return {**values, "minor": found[1]} if found else values
        return values

    @model_validator(mode="after")
    def _version_is_there(self) -> UpstreamSettings:
        known = pins.versions("upstream")
        built = known.get(self.minor)
        if built is None:
            msg = f"minor is {self.minor}, and set-up builds upstream {_either(known)} alone; take one of these"
            raise ValueError(msg)
        if self.version is not None and self.version.removeprefix("v") != built.removeprefix("v"):
            msg = f"version is {self.version}, and set-up builds upstream {_either(known.values())} alone; take one of these, and its minor"
            raise ValueError(msg)
        if self.artifacts or self.images:
            msg = "artifacts and images are for distributions that are downloaded; upstream is built by set-up; leave them out"
            raise ValueError(msg)
        return self


def _either(names: Iterable[str]) -> str:
    """Names as a sentence lists them."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


class UpstreamCluster(PhasedCluster):
    """A cluster of upstream Kubernetes on hosts that are given."""

    def __init__(
        self, name: str, args: UpstreamSettings, hosts: list[Host], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("litelab:clusters:UpstreamCluster", name, args, hosts, opts)
        self._wanted = pins.versions("upstream")[args.minor]
        self.nodes = [h.name for h in hosts]
        self._several = len(self._controllers) > 1
        self._addresses = pulumi.Output.all(*(h.address for h in self._controllers))
        # A node registers once: a replaced controller does not know those that ran before it.
        self._identities = [h.identity for h in self._controllers]
        self._declare(
            [
                self._issue_certificates,
                self._provide_artifacts,
                self._stage_hosts,
                self._start_control_plane,
                self._join_nodes,
                self._upgrade_hosts,
                self._verify_cluster,
            ]
        )

    def _issue_certificates(self) -> None:
        ca = local_step("ca", self._scripts, "pki.py", arguments=["ca"], secret=True, opts=self._after())
        server = self._addresses.apply(lambda known: f"https://{ENDPOINT if self._several else known[0]}:6443")
        self._certificates: dict[str, pulumi.Output[dict[str, str]]] = {}
        for host in self._hosts:
            request = pulumi.Output.json_dumps(
                {
                    "ca": ca.stdout.apply(json.loads),
                    "name": host.name,
                    "address": host.address,
                    "role": host.role,
                    "cluster": pulumi.get_stack(),
                    "server": server,
                    "serviceAddress": SERVICE_ADDRESS,
                    **({"endpoint": ENDPOINT} if self._several else {}),
                }
            )
            issued = local_step(
                f"certificates-{host.name}",
                self._scripts,
                "pki.py",
                arguments=["host"],
                stdin=pulumi.Output.secret(request),
                secret=True,
                opts=self._after(),
            )
            self._certificates[host.name] = pulumi.Output.secret(issued.stdout.apply(json.loads))

    def _provide_artifacts(self) -> None:
        self._artifacts_step = local_step(
            "artifacts",
            self._scripts,
            "artifacts.sh",
            environment={"VERSION": self._wanted},
            triggers=[self._wanted],
            opts=self._after(),
        )

    def _stage_hosts(self) -> None:
        self._stage_steps = {
            host.name: local_step(
                f"stage-{host.name}",
                self._scripts,
                "stage.sh",
                arguments=[host.name],
                triggers=[host.identity],
                opts=self._after(host.resource, self._artifacts_step, host=host),
            )
            for host in self._hosts
        }

    def _start_control_plane(self) -> None:
        # Each etcd waits for another.
        after = self._after(*(self._stage_steps[h.name] for h in self._controllers))
        self.latest = [
            remote_step(
                "controller" if host is self._first else f"controller-{host.name}",
                host,
                self._scripts,
                "controller.sh",
                stdin=self._input(host, _etcd(self._controllers) if self._several else {}),
                # A further one may stop being one, on a host that stays.
                delete=host is not self._first,
                triggers=self._identities if self._several else [],
                opts=after,
            )
            for host in self._controllers
        ]

    def _join_nodes(self) -> None:
        control_plane = self.latest
        reached: dict[str, pulumi.Input[str]] = {}
        if self._several:
            reached = {"ENDPOINT": ENDPOINT, "CONTROLLERS": self._addresses.apply(",".join)}
        self.latest = [
            remote_step(
                f"node-{host.name}",
                host,
                self._scripts,
                "node.sh",
                stdin=self._input(host, {"TAINT": self._taint(host), **reached}),
                triggers=self._identities,
                opts=self._after(self._stage_steps[host.name], *control_plane),
            )
            for host in self._hosts
        ]

    def _taint(self, host: Host) -> str:
        """Whether a node takes no pods but its own."""
        return str(host.role == "controller" and not self._args.controller_runs_workloads).lower()

    def _upgrade_hosts(self) -> None:
        self._upgrade(self.nodes, f"CLUSTER={pulumi.get_stack()}\n", self._artifacts_step.stdout)

    def _verify_cluster(self) -> None:
        values = {"NODES": ",".join(self.nodes), "TAINT": self._taint(self._first)}
        if self._several:
            values["CONTROLLERS"] = ",".join(h.name for h in self._controllers)
        verify_step = self._verify(f"{key_value_lines(values)}---\n")
        # Only who waited for the last step gets a kubeconfig that works.
        admin = pulumi.Output.all(self._certificates[self._first.name], self._addresses, verify_step.stdout)
        self.kubeconfig = pulumi.Output.secret(admin.apply(lambda known: self._kubeconfig(known[0], known[1])))

    def _kubeconfig(self, certificates: Mapping[str, str], addresses: list[str]) -> str:
        names = [h.name for h in self._controllers]
        servers = {name: f"https://{address}:6443" for name, address in zip(names, addresses, strict=True)}
        return with_contexts(certificates["kubeconfig"], servers)

    def _input(self, host: Host, more: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[str]:
        """A step's standard input: ``KEY=VALUE`` lines, ``---``, then the host's files."""
        values: dict[str, pulumi.Input[str]] = {
            "POD_CIDR": POD_CIDR,
            "SERVICE_CIDR": SERVICE_CIDR,
            "DNS_ADDRESS": DNS_ADDRESS,
            "COREDNS_IMAGE": COREDNS_IMAGE,
            "INTERNET": str(self._args.hosts.internet).lower(),
            "CLUSTER": pulumi.get_stack(),
            **more,
        }
        told = pulumi.Output.all(host.address, self._certificates[host.name], *values.values())

        def text(known: list[Any]) -> str:
            lines = key_value_lines(dict(zip(values, known[2:], strict=True)))
            return f"{lines}ADDRESS={known[0]}\n---\n{known[1]['files']}\n"

        return pulumi.Output.secret(told.apply(text))


def _etcd(controllers: list[Host]) -> dict[str, pulumi.Output[str]]:
    """What each of several controllers needs to know of the others."""
    members = pulumi.Output.all(*(pulumi.Output.concat(h.name, "=", h.address) for h in controllers))
    identities = pulumi.Output.all(*(h.identity for h in controllers))
    return {
        "MEMBERS": members.apply(",".join),
        "ETCD_OF": identities.apply(lambda known: short_digest("\n".join(known))),
    }


GUIDE = Guide(
    controller=("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"),
    worker=(),
    node=("kubelet", "containerd", "kube-proxy", "flanneld"),
    kubectl="kubectl --kubeconfig=/etc/kubernetes/admin.conf",
)
NEEDS = Needs(pods=POD_CIDR, services=SERVICE_CIDR, programs=("zstd",), copies="artifacts/upstream-v*", has_dns=False)
DISTRIBUTION = Distribution(UpstreamSettings, UpstreamCluster, GUIDE, needs=NEEDS, mirrors=containerd)
