"""What a program declared: every registration as the engine was sent it."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pulumi
from pulumi.runtime import mocks
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

from components.config.lab_file import parse
from components.lab import Lab

_to_dict = importlib.import_module("google.protobuf.json_format").MessageToDict

STACK = "x-lab"
PROJECT = "litelab"
SECRET = "THIS-IS-SECRET"
KUBECONFIG = json.dumps({"apiVersion": "v1", "clusters": [{"cluster": {}}], "users": [{"user": {"key": SECRET}}]})
"""The administrator's, as a distribution writes it."""
"""Part of every secret that the mocked steps print."""

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


@dataclass(frozen=True)
class Resource:
    """One registration: inputs as the engine sees them, secrets marked."""

    urn: str
    name: str
    type: str
    parent: str
    inputs: Mapping[str, Any]
    request: Any = field(repr=False)

    @property
    def is_remote(self) -> bool:
        """Whether its script runs on a host."""
        return str(_unwrapped(self.inputs).get("environment", {}).get("STEP", "")).endswith("/remote.sh")

    @property
    def host(self) -> str:
        """Of a remote one, the name of the host."""
        return str(self.plain["create"].split()[2])

    @property
    def shown(self) -> dict[str, Any]:
        """Inputs with every secret left out: what state and console hold in plain text."""
        shown: dict[str, Any] = _without_secrets(self.inputs)
        return shown

    @property
    def plain(self) -> dict[str, Any]:
        """Inputs with the marks taken off."""
        plain: dict[str, Any] = _unwrapped(self.inputs)
        return plain

    @property
    def secret_inputs(self) -> set[str]:
        return {key for key, value in self.inputs.items() if _is_secret(value)}


@dataclass
class Graph:
    """A program's resources, by name, and what its components yield."""

    resources: dict[str, Resource]
    lab: Lab
    secret_outputs: dict[str, bool]
    cluster: dict[str, Any]

    @cached_property
    def commands(self) -> dict[str, Resource]:
        return {n: r for n, r in self.resources.items() if r.type.startswith("command:")}

    def steps(self, prefix: str) -> list[str]:
        """Names of the command resources that begin so; there is one at least, so that no loop over them is empty."""
        names = sorted(name for name in self.commands if name.startswith(prefix))
        assert names, f"no step is called {prefix}..., which are {', '.join(self.commands)}"
        return names

    @cached_property
    def _by_urn(self) -> dict[str, Resource]:
        return {r.urn: r for r in self.resources.values()}

    def parent_type(self, name: str) -> str:
        return self._by_urn[self.resources[name].parent].type

    def directly_after(self, name: str) -> set[str]:
        """Names of the commands that the engine is told to finish before this one."""
        urns = set(self.resources[name].request.dependencies)
        return {self._by_urn[u].name for u in urns if u in self._by_urn and self._by_urn[u].name in self.commands}

    def after(self, name: str) -> set[str]:
        """Names of all commands that are finished when this one starts."""
        found: set[str] = set()
        todo = [name]
        while todo:
            new = self.directly_after(todo.pop()) - found
            found |= new
            todo += new
        return found

    def deleted_with(self, name: str) -> str | None:
        urn = self.resources[name].request.deletedWith
        return self._by_urn[urn].name if urn else None


Declare = Callable[..., Graph]


class _Steps(mocks.Mocks):
    """What the scripts would print."""

    def __init__(self, identities: Mapping[str, str]) -> None:
        self.identities = identities
        self.wanted = ""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return f"{args.name}-id", {**_unwrapped(args.inputs), "stdout": self._stdout(args), "stderr": ""}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        msg = f"the program called {args.token}: nothing of it may run outside a resource"
        raise AssertionError(msg)

    def _stdout(self, args: mocks.MockResourceArgs) -> str:
        if args.name == "keys":
            return f"{SECRET} client"
        if args.name.startswith("host-"):
            identity = self.identities.get(args.name, f"{args.name}-made-once")
            return json.dumps({"identity": identity, "hostKey": f"ssh-ed25519 {args.name.upper().replace('-', '')}"})
        if args.name.startswith("facts-"):
            number = args.name[-1]
            address = _unwrapped(args.inputs)["environment"]["ADDRESS"].partition(":")[0]
            facts = {"address": address, "machineId": f"machine-{number}"}
            return json.dumps({**facts, "hostKey": f"ssh-ed25519 LEARNED{number}"})
        if args.name == "alike":
            facts = {"cpus": 4, "memoryMib": 3900, "cgroups": "v2"}
            return json.dumps({**facts, "alike": False, "differences": ["kernel: host-1 a, host-2 b"]})
        if args.name == "network":
            return "10.87.3"
        if args.name == "ca":
            return json.dumps({"ca": {"crt": "c", "key": f"{SECRET} ca"}})
        if args.name.startswith("certificates-"):
            return json.dumps({"files": f"{SECRET} files", "kubeconfig": KUBECONFIG})
        if args.name == "artifacts" and "VERSION" in _unwrapped(args.inputs)["environment"]:
            # Of a distribution that set-up builds.
            self.wanted = _unwrapped(args.inputs)["environment"]["VERSION"]
            return f"list of {self.wanted}"
        if args.name == "artifacts":
            request = json.loads(_unwrapped(args.inputs)["stdin"])
            self.wanted = request["version"]
            files = [{"name": f["name"], "sha256": f["sha256"], "proof": f["proof"]} for f in request["files"]]
            return json.dumps({"list": hashlib.sha256(str(request).encode()).hexdigest()[:12], "files": files})
        if args.name == "verify":
            return self.identities.get("verify", KUBECONFIG)
        if args.name == "upgrade":
            return f"{self.wanted}\n"
        if args.name.startswith("workload-"):
            return json.dumps({"outcome": "good"})
        return self.identities.get(args.name, f"{args.name}-made-once")


class _Monitor(mocks.MockMonitor):
    def __init__(self, steps: mocks.Mocks) -> None:
        super().__init__(steps)
        self.requests: list[tuple[str, Any]] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the engine's own name for it
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        self.requests.append((response.urn, request))
        return response


def declare(
    settings: Mapping[str, Any], *, preview: bool = False, identities: Mapping[str, str] | None = None
) -> Graph:
    """Declare a lab against the mocks.

    Args:
        settings: the lab's, as in its file.
        preview: whether the program is told that nothing will be made.
        identities: what named steps print instead of the mock's own words.
    """
    asyncio.set_event_loop(asyncio.new_event_loop())
    monitor = _Monitor(_Steps(identities or {}))
    mocks.set_mocks(monitor.mocks, project=PROJECT, stack=STACK, preview=preview, monitor=monitor)
    SETTINGS.rpc_manager.clear()
    SETTINGS.outputs.clear()
    made: list[Lab] = []
    secret: dict[str, bool] = {}
    cluster: dict[str, Any] = {}

    async def run() -> None:
        made.append(Lab(STACK, parse(settings, "test")))
        for output in ("kubeconfig", "results"):
            secret[output] = await pulumi.Output.from_input(getattr(made[0], output)).is_secret()
        cluster.update(await pulumi.Output.from_input(made[0].cluster_summary).future() or {})

    _sync_await(run_pulumi_func(lambda: _sync_await(run())))
    resources = {}
    for urn, request in monitor.requests:
        if request.type == "pulumi:pulumi:Stack":
            # Pulumi's own; whether it is seen depends on which thread comes first.
            continue
        assert request.name not in resources, f"two resources are named {request.name}"
        resources[request.name] = Resource(
            urn, request.name, request.type, request.parent, _to_dict(request.object), request
        )
    return Graph(resources, made[0], secret, cluster)


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield key
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)


def _is_secret(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get(_SIGNATURE) == _SECRET_SIGNATURE


def _without_secrets(value: Any) -> Any:
    if _is_secret(value):
        return "[secret]"
    if isinstance(value, Mapping):
        return {k: _without_secrets(v) for k, v in value.items()}
    return [_without_secrets(v) for v in value] if isinstance(value, list) else value


def _unwrapped(value: Any) -> Any:
    if _is_secret(value):
        return _unwrapped(value.get("value"))
    if isinstance(value, Mapping):
        return {k: _unwrapped(v) for k, v in value.items()}
    return [_unwrapped(v) for v in value] if isinstance(value, list) else value
