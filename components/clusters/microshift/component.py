"""MicroShift: one process with a whole OpenShift control plane and kubelet, and CRI-O beside it; a host is a cluster.

``flavour: community`` installs the community's packages (RPM on CentOS Stream, DEB on Ubuntu), ``rhel`` Red Hat's, by a subscription. A
lab has three hosts like every other: with ``topology: single``, the supported form, MicroShift runs on the first, and the others
are clients outside of it; ``fleet`` makes each host a cluster of its own; ``multinode`` joins them, which MicroShift does not support.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import pulumi
from pydantic import Field, model_validator

from components.clusters.distribution import Distribution, Guide, Needs
from components.clusters.installation_phases import InstalledCluster, InstalledSettings, Traits, check
from components.clusters.kubeconfig import merged
from components.clusters.microshift.mirrors import crio
from components.clusters.phased_cluster import Phase
from components.config.settings import SettingsError
from components.hosts.host import Host
from components.steps.steps import remote_step

SECRETS = ("organization", "activationKey", "pullSecret")
"""Of ``flavour: rhel``, as secrets of the stack's configuration: microshift:organization and so on."""


class MicroshiftSettings(InstalledSettings):
    """A lab of MicroShift."""

    distribution: Literal["microshift"] = Field("microshift", description="The Kubernetes distribution")
    version: Annotated[str, Field(pattern=r"^\d+\.\d+[A-Za-z0-9._-]*$", examples=["4.21.0"])] | None = Field(
        None, description="Its version, 4.21 for any of its releases (rhel) or a release's tag; default, the pinned one"
    )
    flavour: Literal["community", "rhel"] = Field("community", description="Whose packages")
    package: Literal["rpm", "deb"] = Field(
        "rpm", description="The community's packages: rpm on CentOS Stream, deb on Ubuntu"
    )
    topology: Literal["single", "fleet", "multinode"] = Field(
        "single", description="single: on the first host alone; fleet: a cluster a host; multinode: experimental"
    )
    dns: bool = Field(True, description="Wait for MicroShift's own DNS, whose images a lab without a way out may lack")
    controller_runs_workloads: bool = Field(True, description="MicroShift's only node runs the workloads too")

    @property
    def pinned_as(self) -> str:
        """Its section in ``components/catalog/distributions.toml``."""
        if self.flavour == "rhel":
            return "microshift-rhel"
        return "microshift-deb" if self.package == "deb" else "microshift"

    @model_validator(mode="after")
    def _is_microshifts_form(self) -> MicroshiftSettings:
        if self.controllers != 1:
            msg = (
                f"controllers is {self.controllers}, and MicroShift has no control plane of several hosts; leave it out"
            )
            raise ValueError(msg)
        if not self.controller_runs_workloads:
            msg = "controllerRunsWorkloads is false, and a node of MicroShift is controller and worker in one; leave it out"
            raise ValueError(msg)
        if self.flavour == "rhel" and self.package == "deb":
            msg = "package is deb, and flavour rhel takes RPMs of Red Hat's repositories; leave package out"
            raise ValueError(msg)
        if self.flavour == "rhel" and self.registries_auth is not None:
            msg = "registriesAuth is set, and with flavour rhel CRI-O takes logins from Red Hat's pull secret alone; leave it out, and add the mirrors' logins to the secret microshift:pullSecret, which has the same form"
            raise ValueError(msg)
        return self


def _members(args: MicroshiftSettings, hosts: list[Host]) -> list[Host]:
    """Hosts that MicroShift is installed on."""
    return hosts[:1] if args.topology == "single" else hosts


NEEDS = Needs(pods="10.42.0.0/16", services="10.43.0.0/16")
TRAITS = Traits(
    ports=(2379, 2380, 6443, 8445, 10250, 10257, 10259),
    memory_mib=1500,
    disk_mib=3000,
    workers_join_together=False,
    nodes=lambda args, hosts: hosts if args.topology == "multinode" else hosts[:1],
    values=lambda args: {
        "FLAVOUR": args.flavour,
        "PACKAGE": args.package,
        "TOPOLOGY": args.topology,
        "DNS": str(args.dns).lower(),
    },
    prepare_values=lambda args: {
        "FLAVOUR": args.flavour,
        "PACKAGE": args.package,
        "ADDONS": args.addons,
        "TOPOLOGY": args.topology,
    },
    prepare_s=1500,
)


class MicroshiftCluster(InstalledCluster):
    """MicroShift on hosts that are given."""

    def __init__(
        self, name: str, args: MicroshiftSettings, hosts: list[Host], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        # Clusters of their own neither wait for each other nor follow the first one.
        is_fleet = args.topology == "fleet"
        traits = replace(TRAITS, workers_join_together=is_fleet, is_one_cluster=not is_fleet)
        self._settings = args
        super().__init__("litelab:clusters:MicroshiftCluster", name, traits, args, _members(args, hosts), opts)

    def phases(self) -> list[Phase]:
        """With Red Hat's packages a host is subscribed first; a fleet's kubeconfigs become one."""
        phases = super().phases()
        if self._settings.flavour == "rhel":
            phases.insert(phases.index(self._supply_first_controller), self._subscribe_hosts)
        if self._settings.topology == "fleet":
            phases.append(self._merge_kubeconfigs)
        return phases

    def _merge_kubeconfigs(self) -> None:
        self.nodes = self.contexts = [host.name for host in self._hosts]
        self.kubeconfig = pulumi.Output.secret(
            pulumi.Output.all(self.kubeconfig, *[step.stdout for step in self.joins.values()]).apply(
                lambda texts: merged(dict(zip(self.contexts, texts, strict=True)))
            )
        )

    def _runs_pods(self, host: Host) -> str:  # noqa: ARG002 - none that it is installed on is without
        return "true"

    def _subscribe_hosts(self) -> None:
        """A step a host, which unsubscribes it before it goes."""
        minor = self._release.version.rsplit("-", 1)[0].split(".")[:2]
        repositories = [
            f"rhocp-{'.'.join(minor)}-for-rhel-9-x86_64-rpms",
            "fast-datapath-for-rhel-9-x86_64-rpms",
        ]
        secrets = pulumi.Output.json_dumps({name: _secret(name) for name in SECRETS})
        lines = f"REPOSITORIES={','.join(repositories)}\n---\n"
        told: pulumi.Output[str] = pulumi.Output.secret(pulumi.Output.concat(lines, secrets, "\n"))
        self._prepared = {
            host.name: remote_step(
                f"subscribe-{host.name}",
                host,
                self._scripts,
                "subscribe.sh",
                stdin=told,
                delete=True,
                # Else Red Hat counts a machine that is no more.
                outlives=True,
                opts=self._after(self._prepared[host.name]),
            )
            for host in self._hosts
        }


def _secret(name: str) -> pulumi.Output[str]:
    """A secret of the stack's configuration, which no settings hold and no error shows."""
    found = pulumi.Config("microshift").get_secret(name)
    if found is None:
        stack = pulumi.get_stack()
        msg = (
            f"flavour is rhel, and microshift:{name} is not set. From console.redhat.com, by standard input: 'pulumi config set --stack {stack} "
            f"--secret microshift:{name} < FILE' ({', '.join(f'microshift:{n}' for n in SECRETS)} are needed). Nothing was made."
        )
        raise SettingsError(msg)
    return found


GUIDE = Guide(
    controller=("microshift",),
    worker=("microshift",),
    node=("crio",),
    kubectl="kubectl --kubeconfig=/var/lib/microshift/resources/kubeadmin/kubeconfig",
)
DISTRIBUTION = Distribution(MicroshiftSettings, MicroshiftCluster, GUIDE, check, NEEDS, mirrors=crio)
