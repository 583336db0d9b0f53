"""The skeleton of every cluster: phases, declared one after another in the order of one list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
from pulumi_command import local

from components.config.settings import LabSettings
from components.hosts.host import Host
from components.steps.scripts import publish
from components.steps.steps import local_step, remote_step

Phase = Callable[[], None]


class PhasedCluster(pulumi.ComponentResource):
    """A cluster on given hosts.

    A subclass lists its phases; each declares its steps and sets ``latest`` to the steps that the next one waits for.

    Attributes:
        kubeconfig: the administrator's, a secret; with several controllers a context for each, the first one current.
        version: what runs, asked of the first controller.
        nodes: names of the hosts that are its nodes.
        contexts: of the kubeconfig, those that are clusters of their own; none where all is one cluster.
        ready: the last step; who depends on it finds every node Ready and cluster DNS up.
        latest: the steps that the next phase waits for.
    """

    kubeconfig: pulumi.Output[str]
    version: pulumi.Output[str]
    nodes: list[str]
    contexts: list[str]
    ready: pulumi.Resource
    latest: list[pulumi.Resource]

    def __init__(
        self,
        kind: str,
        name: str,
        args: LabSettings,
        hosts: list[Host],
        opts: pulumi.ResourceOptions | None = None,
        *,
        also: Sequence[str] = (),
    ) -> None:
        super().__init__(kind, name, None, opts)
        self._args, self._hosts = args, hosts
        # components.clusters.NAME.component: the folder is the distribution.
        part = type(self).__module__.split(".")[-2]
        self._scripts = publish(
            part, pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run(), also=(*also, "ssh", "clusters")
        )
        self._controllers = [host for host in hosts if host.role == "controller"]
        self._workers = [host for host in hosts if host.role == "worker"]
        self._first = self._controllers[0]
        self.contexts, self.latest = [], []

    def _declare(self, phases: Sequence[Phase]) -> None:
        for phase in phases:
            phase()
        self.register_outputs({"kubeconfig": self.kubeconfig, "version": self.version})

    def _after(self, *steps: pulumi.Resource, host: Host | None = None) -> pulumi.ResourceOptions:
        """Options of a step that waits for these; one that only changes a host goes with the host."""
        return pulumi.ResourceOptions(
            parent=self, depends_on=list(steps), deleted_with=host.deleted_with if host is not None else None
        )

    def _upgrade(self, nodes: Sequence[str], stdin: pulumi.Input[str], wanted: pulumi.Input[Any]) -> None:
        """One step that brings hosts to the wanted version in order, the first controller first.

        Args:
            nodes: hosts that run pods.
            stdin: what scripts on the hosts are told.
            wanted: changes with what hosts are to have.
        """
        upgrade_step = local_step(
            "upgrade",
            self._scripts,
            "upgrade.sh",
            environment={
                "HOSTS": " ".join(host.name for host in [*self._controllers, *self._workers]),
                "NODES": " ".join(nodes),
                "FIRST": self._first.name,
            },
            stdin=stdin,
            triggers=[wanted],
            opts=self._after(*self.latest),
        )
        self.version = upgrade_step.stdout.apply(lambda said: said.strip().rpartition("\n")[2])
        self.latest = [upgrade_step]

    def _verify(self, stdin: pulumi.Input[str]) -> local.Command:
        """The last step, on the first controller: every node Ready, cluster DNS up."""
        verify_step = remote_step(
            "verify", self._first, self._scripts, "verify.sh", stdin=stdin, opts=self._after(*self.latest)
        )
        self.ready = verify_step
        self.latest = [verify_step]
        return verify_step


def key_value_lines(values: Mapping[str, str]) -> str:
    """What scripts read from standard input: ``KEY=VALUE`` lines."""
    return "".join(f"{key}={value}\n" for key, value in values.items())
