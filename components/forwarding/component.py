"""Hosts that are reached through another machine: the way to their cluster's API, and ways that are opened again."""

from __future__ import annotations

import subprocess
import sys

import pulumi

from components.clusters.distribution import Cluster
from components.config.settings import SettingsError
from components.hosts.host import Host
from components.places import PROJECT, run_folder
from components.steps.scripts import publish, scripts_of
from components.steps.steps import local_step

PROGRAM = scripts_of("forwarding") / "forward.py"


class ReachedCluster(pulumi.ComponentResource):
    """A cluster as the operator reaches it: the same, but for the servers' addresses in its kubeconfig.

    Attributes:
        kubeconfig: the administrator's, a secret; its servers are ports of the operator's machine.
        version: what runs.
        nodes: names of the hosts that are its nodes.
        contexts: of the kubeconfig, those that are clusters of their own and share the load.
    """

    kubeconfig: pulumi.Output[str]
    version: pulumi.Output[str]
    nodes: list[str]
    contexts: list[str]

    def __init__(self, name: str, cluster: Cluster, through: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("litelab:reach:ReachedCluster", name, None, opts)
        scripts = publish("forwarding", pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run())
        self.version, self.nodes, self.contexts = cluster.version, cluster.nodes, cluster.contexts
        opened = local_step(
            "api",
            scripts,
            "api.py",
            environment={"THROUGH": through},
            stdin=pulumi.Output.secret(cluster.kubeconfig),
            secret=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.kubeconfig = pulumi.Output.secret(opened.stdout.apply(str))
        self.register_outputs({"kubeconfig": self.kubeconfig})


def through_machine(name: str, cluster: Cluster, hosts: list[Host], opts: pulumi.ResourceOptions) -> Cluster:
    """The cluster as the operator reaches it; itself, where the operator reaches its hosts."""
    through = hosts[0].ssh.jump_host
    return ReachedCluster(name, cluster, through, opts) if through else cluster


def refusal(through: str) -> str:
    """Why a machine does not let the operator in, with the fix; nothing when it does."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "try", through],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.stderr.strip().removeprefix("error: ") if done.returncode else ""


def reopen(stack: str) -> None:
    """Open a lab's ways again that a reboot or a cut connection has shut, on the ports that its state has.

    Raises:
        SettingsError: one can't be opened.
    """
    run = PROJECT / run_folder(stack)
    if not (run / "forwards").exists():
        return
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "reopen", str(run)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    said = done.stderr.strip()
    if done.returncode != 0:
        # What was opened stands before the reason.
        raise SettingsError(said.rpartition("error: ")[2])
    if said:
        pulumi.log.info(said)
