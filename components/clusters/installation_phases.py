"""What distributions have in common: which steps there are, in what order, and what each is told.

=============  ==========================  ==================================================================
step           script, where               what it does
=============  ==========================  ==================================================================
artifacts      fetch.py, operator          programs and images, whole and checked, into the cache
validate       validate.py, operator       every host's facts; what can't become a cluster is refused
stage-HOST     stage.sh, operator          files and scripts to the host; ``prepare.sh`` there makes it ready
supply         supply.sh, operator         what was corrected of files and images since then to the first controller, if it
                                           does not run yet
init           init.sh, first controller   configures and starts it, until its API is ready
join-HOST      join.sh, operator           a token for this host alone from ``token.sh`` on the first controller,
                                           handed to ``node.sh`` on the host, then invalidated
upgrade        upgrade.sh, operator        brings hosts to the wanted version, one by one (``running.sh``,
                                           ``upgrade-host.sh`` there); nothing on a fresh lab
verify         verify.sh, first controller every node Ready, taints as they must be, DNS up; prints the kubeconfig
=============  ==========================  ==================================================================

``reset.sh`` on a host undoes all of it, when the lab ends and the host stays. A distribution's own scripts are ``prepare.sh``,
``init.sh``, ``token.sh``, ``node.sh``, ``verify.sh``, ``running.sh``, ``upgrade-host.sh``, ``reset.sh``; the others are
shared, and any can be replaced by one of the same name. No step but ``artifacts`` and ``upgrade`` is told the version: a changed one
upgrades a cluster, and installs nothing again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import pulumi
from pulumi_command import local
from pydantic import model_validator

from components.catalog import artifacts, pins
from components.clusters.kubeconfig import with_contexts
from components.clusters.phased_cluster import Phase, PhasedCluster, key_value_lines
from components.config.settings import LabSettings
from components.hosts.host import Host
from components.steps.digests import short_digest
from components.steps.steps import local_step, remote_step

OWN_IMAGES = ("pause", "busybox")
"""Images of set-up that workloads and tests start on every lab."""


@dataclass(frozen=True)
class Traits:
    """How a distribution differs from the others.

    Attributes:
        ports: TCP ports that it needs on every host.
        api_port: of its API servers.
        memory_mib: what a host must have at least.
        disk_mib: what must be free at least.
        workers_join_together: else one after another.
        is_one_cluster: what every host is part of, so that none can stay when a controller is replaced.
        nodes: which hosts are nodes of the cluster, as ``kubectl get nodes`` must show.
        after_controllers: a script of the operator's machine that runs when the last of several controllers has joined, or ``""``.
        values: further settings for its scripts, as ``KEY=VALUE`` in plain characters.
        prepare_values: what ``prepare.sh`` is told, likewise.
        prepare_s: how long that may take.
    """

    ports: tuple[int, ...]
    api_port: int = 6443
    memory_mib: int = 900
    disk_mib: int = 1500
    workers_join_together: bool = True
    is_one_cluster: bool = True
    nodes: Callable[[Any, list[Host]], list[Host]] = lambda _, hosts: hosts
    after_controllers: str = ""
    values: Callable[[Any], Mapping[str, str]] = field(default=lambda _: {})
    prepare_values: Callable[[Any], Mapping[str, str]] = field(default=lambda _: {})
    prepare_s: int = 300


def release(lab: LabSettings) -> pins.Release:
    """The version that a lab asks for.

    Raises:
        ValueError: there is none; one sentence.
    """
    try:
        return pins.release(lab.pinned_as, lab.minor, lab.version)
    except pins.PinError as error:
        raise ValueError(str(error)) from None


class InstalledSettings(LabSettings):
    """A lab of a distribution whose versions are pinned."""

    @model_validator(mode="after")
    def _version_is_known(self) -> Self:
        release(self)
        return self


def check(lab: LabSettings) -> None:
    """Look at what the lab's file names, before anything is made.

    Raises:
        SettingsError: a file is not there or is not what it should be.
    """
    artifacts.wanted(lab, release(lab))


class InstalledCluster(PhasedCluster):
    """A cluster of a distribution on hosts that are given.

    Attributes:
        proof: of each file, its digest and who vouches for it.
        joins: the step by which each further host joined; its output is a secret.
    """

    proof: pulumi.Output[Any]
    joins: dict[str, local.Command]

    def __init__(
        self,
        kind: str,
        name: str,
        traits: Traits,
        args: LabSettings,
        hosts: list[Host],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(kind, name, args, hosts, opts, also=("catalog",))
        self._traits, self._release = traits, release(args)
        # With a controller replaced, or another number of them, it is another cluster: all hosts are reset and join it.
        self._of_cluster = [h.identity for h in self._controllers] if traits.is_one_cluster else []
        self.joins = {}
        self.nodes = [h.name for h in traits.nodes(args, hosts)]
        self._declare(self.phases())

    def phases(self) -> list[Phase]:
        """What is done, in this order."""
        return [
            self._fetch_artifacts,
            self._validate_hosts,
            self._stage_hosts,
            self._supply_first_controller,
            self._init_first_controller,
            self._join_controllers,
            self._follow_controllers,
            self._join_workers,
            self._upgrade_hosts,
            self._verify_cluster,
        ]

    def _fetch_artifacts(self) -> None:
        self._artifacts_step = self._artifacts(self._release)
        self.proof = self._artifacts_step.stdout.apply(lambda text: json.loads(text)["files"])

    def _validate_hosts(self) -> None:
        self.latest = [self._artifacts_step, self._validate()]

    def _stage_hosts(self) -> None:
        before = self.latest
        self._prepared: dict[str, pulumi.Resource] = {h.name: self._stage(h, *before) for h in self._hosts}

    def _supply_first_controller(self) -> None:
        self.latest = [self._supply(self._first, self._artifacts_step, self._prepared[self._first.name])]

    def _init_first_controller(self) -> None:
        init_step = remote_step(
            "init",
            self._first,
            self._scripts,
            "init.sh",
            stdin=self._input(self._first),
            triggers=self._of_cluster,
            opts=self._after(*self.latest),
        )
        self.latest = [init_step]

    def _join_controllers(self) -> None:
        for host in self._controllers[1:]:
            self.latest = [self._join(host, self._prepared[host.name], *self.latest)]

    def _follow_controllers(self) -> None:
        """A distribution's own step, once the last of several controllers has joined."""
        script = self._traits.after_controllers
        if script and len(self._controllers) > 1:
            others = [h.name for h in self._controllers[1:]]
            follow_step = local_step(
                script.removesuffix(".sh"),
                self._scripts,
                script,
                environment={"FIRST": self._first.name, "OTHERS": " ".join(others)},
                triggers=self._of_cluster,
                opts=self._after(*self.latest),
            )
            self.latest = [follow_step]

    def _join_workers(self) -> None:
        join_steps = list(self.latest)
        for host in self._workers:
            step = self._join(host, self._prepared[host.name], *self.latest)
            join_steps.append(step)
            if not self._traits.workers_join_together:
                self.latest = [step]
        self.latest = join_steps

    def _upgrade_hosts(self) -> None:
        # Before the cluster is verified: a file that hosts lack may be why it could not be.
        nodes = [h.name for h in self._hosts if self._runs_pods(h) == "true"]
        self._upgrade(nodes, self._input(None), _list_of(self._artifacts_step))

    def _verify_cluster(self) -> None:
        nodes = self._traits.nodes(self._args, self._hosts)
        # This step alone gets the list of nodes: one more worker changes no other step.
        addresses = pulumi.Output.all(*[h.address for h in nodes]).apply(",".join)
        verify_step = self._verify(self._input(self._first, NODES=",".join(self.nodes), ADDRESSES=addresses))
        self.kubeconfig = pulumi.Output.secret(
            pulumi.Output.all(verify_step.stdout, *[h.address for h in self._controllers]).apply(self._with_contexts)
        )

    def _with_contexts(self, known: list[str]) -> str:
        """The administrator's kubeconfig as the first controller printed it, with a context for each controller."""
        kubeconfig, *addresses = known
        names = [h.name for h in self._controllers]
        return with_contexts(
            kubeconfig, dict(zip(names, [f"https://{a}:{self._traits.api_port}" for a in addresses], strict=True))
        )

    def _artifacts(self, wanted: pins.Release) -> local.Command:
        request = {
            "part": self._scripts.part,
            "version": wanted.version,
            "own": list(OWN_IMAGES),
            "files": artifacts.wanted(self._args, wanted),
        }
        text = json.dumps(request)
        return local_step(
            "artifacts", self._scripts, "fetch.py", stdin=text, triggers=[short_digest(text)], opts=self._after()
        )

    def _validate(self) -> local.Command:
        pairs = [pulumi.Output.concat(h.name, "=", h.address) for h in self._hosts]
        return local_step(
            "validate",
            self._scripts,
            "validate.py",
            environment={
                "HOSTS": pulumi.Output.all(*pairs).apply(",".join),
                "PORTS": ",".join(map(str, self._traits.ports)),
                "MEMORY_MIB": str(self._traits.memory_mib),
                "DISK_MIB": str(self._traits.disk_mib),
            },
            triggers=[h.identity for h in self._hosts],
            opts=self._after(*(h.resource for h in self._hosts)),
        )

    def _stage(self, host: Host, *before: pulumi.Resource) -> local.Command:
        return local_step(
            f"stage-{host.name}",
            self._scripts,
            "stage.sh",
            arguments=[host.name],
            environment={
                "PREPARE_S": str(self._traits.prepare_s),
                "RUNS_PODS": self._runs_pods(host),
                # Every other host's next step waits for its API.
                "GOES_FIRST": str(host is self._first).lower(),
            },
            stdin=key_value_lines(self._traits.prepare_values(self._args)),
            triggers=[host.identity, *self._of_cluster],
            opts=self._after(*before, host=host),
        )

    def _supply(self, first: Host, artifacts_step: local.Command, *before: pulumi.Resource) -> local.Command:
        """A corrected artifact reaches the first controller before it starts; further hosts get theirs as they join."""
        return local_step(
            "supply",
            self._scripts,
            "supply.sh",
            arguments=[first.name],
            environment={"PREPARE_S": str(self._traits.prepare_s), "RUNS_PODS": self._runs_pods(first)},
            triggers=[first.identity, *self._of_cluster, _list_of(artifacts_step)],
            opts=self._after(*before),
        )

    def _runs_pods(self, host: Host) -> str:
        """Whether a host needs images."""
        return str(host.name in self.nodes).lower()

    def _join(self, host: Host, *before: pulumi.Resource) -> local.Command:
        step = self.joins[host.name] = local_step(
            f"join-{host.name}",
            self._scripts,
            "join.sh",
            arguments=[host.name],
            environment={
                "FIRST": self._first.name,
                "ROLE": host.role,
                "RUNS_PODS": self._runs_pods(host),
                "PREPARE_S": str(self._traits.prepare_s),
            },
            stdin=self._input(host),
            triggers=[host.identity, *self._of_cluster],
            secret=True,
            opts=self._after(*before, host=host),
        )
        return step

    def _input(self, host: Host | None, **more: pulumi.Input[str]) -> pulumi.Output[str]:
        """What a script is told: ``KEY=VALUE`` lines and, where it runs on the host itself, ``---``."""
        args = self._args
        plain = {
            "ADDONS": args.addons,
            "CONTROLLERS": str(args.controllers),
            "INTERNET": str(args.hosts.internet).lower(),
            "RUNS_WORKLOADS": str(args.controller_runs_workloads).lower(),
            "ROLE": host.role if host is not None else "",
            **self._traits.values(args),
        }
        lines = pulumi.Output.concat(
            key_value_lines(plain),
            *[pulumi.Output.concat(key, "=", value, "\n") for key, value in more.items()],
        )
        addresses = pulumi.Output.all(*[h.address for h in self._controllers]).apply(",".join)
        text = pulumi.Output.concat(lines, "CONTROLLER_ADDRESSES=", addresses, "\n")
        if host is None:
            return text
        text = pulumi.Output.concat(text, "ADDRESS=", host.address, "\n")
        # join.sh puts the mark itself, before the token.
        return pulumi.Output.concat(text, "---\n") if host is self._first else text


def _list_of(artifacts_step: local.Command) -> pulumi.Output[str]:
    """Digest of what hosts are to have: version, programs, images."""
    return artifacts_step.stdout.apply(lambda text: str(json.loads(text)["list"]))
