"""The hosts file: where the lab's hosts are and how to reach them by ssh. Whoever builds the lab writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from benchmarks.outcome import UserError
from benchmarks.refusals import dotted, explain


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)


class LabHost(_Part):
    """One host; `ssh -F <ssh_config> <name>` reaches it with its key and its known host key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$")]
    role: Literal["controller", "worker"]
    address: str
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: str = "root"
    ssh_config: str | None = None


class LabHosts(_Part):
    """All hosts of a lab, what kind they are, and whatever their builder knows about them."""

    schema_version: Literal[1] = 1
    kind: str
    stack: str = ""
    facts: dict[str, Any] = {}
    hosts: list[LabHost]


class Step(BaseModel):
    """A step of the lab's building and how long it took on a host."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: str
    host: str
    seconds: float


def load_hosts(path: Path) -> LabHosts:
    """The lab's hosts from its JSON file."""
    try:
        return LabHosts.model_validate(_json(path, "hosts"))
    except ValidationError as error:
        msg = f"The hosts file {path} is refused:\n{explain(error, LabHosts)}"
        raise UserError(msg) from error


def load_steps(path: Path) -> list[Step]:
    """The steps of the lab's building from their JSON file."""
    try:
        return TypeAdapter(list[Step]).validate_python(_json(path, "steps"))
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"The steps file {path} is refused: {dotted(first['loc'])}: {first['msg']}"
        raise UserError(msg) from error


def _json(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"The {what} file {path} can't be read: {error}"
        raise UserError(msg) from error
