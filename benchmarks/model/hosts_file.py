"""The hosts file: where the lab's hosts are and how to reach them by ssh. Whoever builds the lab writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from benchmarks.model.outcome import UserError
from inputs import jsonfile, validation_errors
from inputs.errors import InputError
from inputs.model import InputModel

ModelT = TypeVar("ModelT", bound=BaseModel)


class LabHost(InputModel):
    """One host; `ssh -F <ssh_config> <name>` reaches it with its key and its known host key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$")]
    role: Literal["controller", "worker"]
    address: str
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: str = "root"
    ssh_config: str | None = None


class LabHosts(InputModel):
    """All hosts of a lab, what kind they are, and whatever their builder knows about them."""

    schema_version: Literal[1] = 1
    kind: str
    stack: str = ""
    facts: dict[str, Any] = Field(default_factory=dict)
    hosts: list[LabHost]


class Step(BaseModel):
    """A step of the lab's building and how long it took on a host."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: str
    host: str
    seconds: float


class _Steps(RootModel[list[Step]]):
    """All steps of a lab's building."""


def load_hosts(path: Path) -> LabHosts:
    """The lab's hosts from its JSON file; a relative ``sshConfig`` is beside it."""
    lab = _read(path, LabHosts)
    hosts = [
        host.model_copy(update={"ssh_config": str(path.absolute().parent / host.ssh_config)})
        if host.ssh_config
        else host
        for host in lab.hosts
    ]
    return lab.model_copy(update={"hosts": hosts})


def load_steps(path: Path) -> list[Step]:
    """The steps of the lab's building from their JSON file."""
    return _read(path, _Steps).root


def _read(path: Path, model: type[ModelT]) -> ModelT:
    try:
        document = jsonfile.read_json(path, str(path))
    except InputError as error:
        raise UserError(str(error)) from error
    try:
        return model.model_validate(document.content)
    except ValidationError as error:
        raise UserError(validation_errors.sentence(validation_errors.explain(error, model, document))) from error
