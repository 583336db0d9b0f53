"""Plain Kubernetes from its own modules: the yardstick, and the default lab's distribution.

etcd, API server, controller manager and scheduler on each controller; containerd, kubelet, kube-proxy and flannel on every
host. All run under systemd, from ``/opt/litelab/upstream``. The etcds of several controllers are one cluster, made at once: when a
controller is made anew, so is the cluster.

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
from components.config.settings import LabSettings
from components.hosts.host import Host
from components.steps.digests import short_digest
from components.steps.scripts import publish
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


class UpstreamCluster(pulumi.ComponentResource):
    """A cluster of upstream Kubernetes on hosts that are given.

    Attributes:
        kubeconfig: the administrator's, a secret; its server is the controller's address, with several controllers it has a context
            for each, the first one current.
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
        scripts = publish("upstream", stack, dry_run=pulumi.runtime.is_dry_run(), also=("ssh", "clusters"))
        controllers = [h for h in hosts if h.role == "controller"]
        controller = controllers[0]
        several = len(controllers) > 1
        self.version = pins.versions("upstream")[args.minor]
        self.nodes = [h.name for h in hosts]
        self.contexts = []

        def options(*after: pulumi.Resource, host: Host | None = None) -> pulumi.ResourceOptions:
            deleted_with = host.deleted_with if host else None
            return pulumi.ResourceOptions(parent=self, depends_on=list(after), deleted_with=deleted_with)

        ca = local_step(
            "ca",
            scripts,
            "pki.py",
            arguments=["ca"],
            secret=True,
            opts=options(),
        )
        addresses = pulumi.Output.all(*(h.address for h in controllers))
        server = addresses.apply(lambda known: f"https://{ENDPOINT if several else known[0]}:6443")
        shared = {"endpoint": ENDPOINT} if several else {}
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
                    **shared,
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

        artifacts = local_step(
            "artifacts",
            scripts,
            "artifacts.sh",
            environment={"VERSION": self.version},
            triggers=[self.version],
            opts=options(),
        )
        stage_steps = {
            host.name: local_step(
                f"stage-{host.name}",
                scripts,
                "stage.sh",
                arguments=[host.name],
                triggers=[host.identity],
                opts=options(host.resource, artifacts, host=host),
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
        identities = [h.identity for h in controllers]
        control_plane = [
            remote_step(
                "controller" if host is controller else f"controller-{host.name}",
                host,
                scripts,
                "controller.sh",
                stdin=_input({**common, **(_etcd(controllers) if several else {})}, host, certificates[host.name]),
                # A further one may stop being one, on a host that stays.
                delete=host is not controller,
                triggers=identities if several else [],
                # Each etcd waits for another.
                opts=options(*(stage_steps[h.name] for h in controllers)),
            )
            for host in controllers
        ]
        reached: dict[str, pulumi.Input[str]] = {}
        if several:
            reached = {"ENDPOINT": ENDPOINT, "CONTROLLERS": addresses.apply(",".join)}
        nodes = []
        for host in hosts:
            taint = host.role == "controller" and not args.controller_runs_workloads
            nodes.append(
                remote_step(
                    f"node-{host.name}",
                    host,
                    scripts,
                    "node.sh",
                    stdin=_input({**common, "TAINT": str(taint).lower(), **reached}, host, certificates[host.name]),
                    # A node registers once: a controller made anew does not know those that ran before it.
                    triggers=identities,
                    opts=options(stage_steps[host.name], *control_plane),
                )
            )
        workers = [h for h in hosts if h.role != "controller"]
        upgrade_step = local_step(
            "upgrade",
            scripts,
            "upgrade.sh",
            environment={
                "HOSTS": " ".join(h.name for h in [*controllers, *workers]),
                "NODES": " ".join(self.nodes),
                "FIRST": controller.name,
            },
            stdin=f"CLUSTER={stack}\n",
            triggers=[artifacts.stdout],
            opts=options(*nodes),
        )
        self.ready = remote_step(
            "verify",
            controller,
            scripts,
            "verify.sh",
            stdin=f"NODES={','.join(self.nodes)}\nTAINT={str(not args.controller_runs_workloads).lower()}\n"
            + (f"CONTROLLERS={','.join(h.name for h in controllers)}\n---\n" if several else "---\n"),
            opts=options(upgrade_step),
        )
        # Only who waited for the last step gets a kubeconfig that works.
        admin = pulumi.Output.all(certificates[controller.name], addresses, self.ready.stdout)
        self.kubeconfig = pulumi.Output.secret(
            admin.apply(lambda x: with_contexts(x[0]["kubeconfig"], x[1]) if several else str(x[0]["kubeconfig"]))
        )
        self.register_outputs({"kubeconfig": self.kubeconfig, "version": self.version})


def _etcd(controllers: list[Host]) -> dict[str, pulumi.Output[str]]:
    """What each of several controllers is told of the others."""
    members = pulumi.Output.all(*(pulumi.Output.concat(h.name, "=", h.address) for h in controllers))
    identities = pulumi.Output.all(*(h.identity for h in controllers))
    return {
        "MEMBERS": members.apply(",".join),
        "ETCD_OF": identities.apply(lambda known: short_digest("\n".join(known))),
    }


def with_contexts(kubeconfig: str, addresses: list[str]) -> str:
    """An administrator's kubeconfig of one context, as JSON, with one for each controller instead, named as its host."""
    known = json.loads(kubeconfig)
    (cluster,), (user,) = known["clusters"], known["users"]
    hosts = {f"host-{number}": address for number, address in enumerate(addresses, start=1)}
    known["clusters"] = [
        {"name": host, "cluster": {**cluster["cluster"], "server": f"https://{address}:6443"}}
        for host, address in hosts.items()
    ]
    known["contexts"] = [{"name": host, "context": {"cluster": host, "user": user["name"]}} for host in hosts]
    known["current-context"] = "host-1"
    return json.dumps(known, indent=1) + "\n"


def _input(
    values: Mapping[str, pulumi.Input[str]], host: Host, certificates: pulumi.Output[dict[str, Any]]
) -> pulumi.Output[str]:
    """A step's standard input: ``KEY=VALUE`` lines, ``---``, then the host's files."""
    told = pulumi.Output.all(host.address, certificates, *values.values())

    def text(known: list[Any]) -> str:
        lines = "".join(f"{key}={value}\n" for key, value in zip(values, known[2:], strict=True))
        return f"{lines}ADDRESS={known[0]}\n---\n{known[1]['files']}\n"

    return pulumi.Output.secret(told.apply(text))


GUIDE = Guide(
    controller=("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"),
    worker=(),
    node=("kubelet", "containerd", "kube-proxy", "flanneld"),
    kubectl="kubectl --kubeconfig=/etc/kubernetes/admin.conf",
)
NEEDS = Needs(pods=POD_CIDR, services=SERVICE_CIDR, programs=("zstd",), copies="artifacts/upstream-v*", has_dns=False)
DISTRIBUTION = Distribution(UpstreamSettings, UpstreamCluster, GUIDE, needs=NEEDS)
