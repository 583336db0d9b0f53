"""Workload files: what is measured, how often, and which limits hold."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from benchmarks.model.outcome import UserError
from inputs import suggestions, validation_errors, yamlfile
from inputs.errors import InputError
from inputs.limits import MOST_REPEATS
from inputs.model import InputModel

SHIPPED = Path(__file__).parent.parent / "workloads"

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_LONGEST_S = 3600
_LONGEST_CALL_S = 600


class Limits(InputModel):
    """Upper bounds in seconds: a repeat ends with what it has when one is reached."""

    start_seconds: Annotated[float, Field(gt=0, le=_LONGEST_S)] = 120.0
    delete_seconds: Annotated[float, Field(gt=0, le=_LONGEST_S)] = 120.0
    call_seconds: Annotated[float, Field(gt=0, le=_LONGEST_CALL_S)] = 60.0
    namespace_seconds: Annotated[float, Field(gt=0, le=_LONGEST_S)] = 120.0

    @property
    def answer_seconds(self) -> float:
        """How long a single question to a server or a host may take: longer on hosts that are slow."""
        return self.call_seconds / 4

    def times(self, factor: int) -> Limits:
        """The same, so many times as long, up to the longest that a workload may have."""
        return Limits(
            start_seconds=min(self.start_seconds * factor, _LONGEST_S),
            delete_seconds=min(self.delete_seconds * factor, _LONGEST_S),
            call_seconds=min(self.call_seconds * factor, _LONGEST_CALL_S),
            namespace_seconds=min(self.namespace_seconds * factor, _LONGEST_S),
        )


class Slo(InputModel):
    """Kubernetes' own service level objectives (sig-scalability), in seconds, and the least success rate."""

    success_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    startup_p99_seconds: Annotated[float, Field(gt=0)] = 5.0
    mutating_call_p99_seconds: Annotated[float, Field(gt=0)] = 1.0
    get_call_p99_seconds: Annotated[float, Field(gt=0)] = 1.0
    list_call_p99_seconds: Annotated[float, Field(gt=0)] = 30.0


class Workload(InputModel):
    """`clients` objects created at once, then listed, fetched, updated, deleted, each step by all clients at once."""

    schema_version: Literal[1] = 1
    name: str
    description: str = ""
    kind: Literal["pods", "deployments"]
    clients: Annotated[int, Field(ge=1, le=500)]
    replicas: Annotated[int, Field(ge=1, le=100)] = 1
    image: Annotated[str, Field(min_length=1)]
    image_pull_policy: Literal["Never", "IfNotPresent"] = "IfNotPresent"
    warmups: Annotated[int, Field(ge=0, le=10)] = 1
    repeats: Annotated[int, Field(ge=1, le=MOST_REPEATS)] = 3
    limits: Limits = Limits()
    slo: Slo = Slo()

    @field_validator("name")
    @classmethod
    def _is_a_label(cls, value: str) -> str:
        if not _DNS_LABEL.fullmatch(value):
            msg = "takes at most 40 small letters, digits and dashes"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Workload:
        if self.kind == "pods" and self.replicas != 1:
            msg = "replicas: only deployments have replicas; a workload of pods takes `clients` alone"
            raise ValueError(msg)
        return self

    @property
    def pods(self) -> int:
        """Pods that one repeat asks for."""
        return self.clients * self.replicas

    def shares(self, clusters: int) -> list[Workload]:
        """What each of several clusters gets of the load, as even as whole clients are; one that gets nothing is left out."""
        each, more = divmod(self.clients, clusters)
        counts = [each + (number < more) for number in range(clusters)]
        return [self.model_copy(update={"clients": count}) for count in counts if count]

    def with_patience(self, factor: int) -> Workload:
        """The same with limits that are so many times as long; another workload to ``digest``, unless the factor is 1."""
        return self.model_copy(update={"limits": self.limits.times(factor)})

    def digest(self) -> str:
        """What is measured, as a hash: the number of repeats and warm-ups and the texts are not part of it."""
        measured = self.model_dump_json(exclude={"repeats", "warmups", "description", "name"})
        return "sha256:" + hashlib.sha256(measured.encode()).hexdigest()


def shipped_names() -> list[str]:
    """Names of the workloads that come with the suite."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load(name_or_path: str, *, repeats: int | None = None, warmups: int | None = None) -> Workload:
    """The workload of that name, or in that YAML file, with what the command line overrides."""
    path = SHIPPED / f"{name_or_path}.yaml"
    if not re.fullmatch(r"[-a-z0-9]+", name_or_path) or not path.is_file():
        path = Path(name_or_path)
    if not os.path.lexists(path):
        known = ", ".join(shipped_names())
        near = suggestions.nearest(name_or_path, shipped_names())
        msg = f"There is no workload {name_or_path!r}: neither a file nor one of {known}.{near}"
        raise UserError(msg)
    shown = f"benchmarks/workloads/{path.name}" if path.parent == SHIPPED else str(path)
    try:
        document = yamlfile.read_yaml(path, shown)
    except InputError as error:
        raise UserError(str(error)) from error
    content = document.content
    if not isinstance(content, dict):
        msg = f"{shown}: a workload file holds keys and values, such as 'kind: pods'."
        raise UserError(msg)
    overrides = {"repeats": repeats, "warmups": warmups}
    try:
        return Workload.model_validate(content | {key: value for key, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise UserError(validation_errors.sentence(validation_errors.explain(error, Workload, document))) from error
