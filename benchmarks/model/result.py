"""The result file: everything of one run, under a versioned schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.figures.summary import Summary
from benchmarks.measure.fingerprint import Fingerprint
from benchmarks.model.hosts_file import Step
from benchmarks.model.outcome import UserError
from benchmarks.model.samples import Repeat
from benchmarks.model.workload import Workload
from inputs import jsonfile, textfile, validation_errors
from inputs.errors import InputError

_MOST_TOLD = 5
_MOST_BYTES = 2**30
SCHEMA_FILE = Path(__file__).parent.parent / "schema" / "result-v1.json"


class Result(BaseModel):
    """Version 1 of a result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Annotated[Literal[1], Field(alias="schemaVersion")] = 1
    kind: Literal["litelab-benchmark-result"] = "litelab-benchmark-result"
    run_id: str
    origin_unix_ns: Annotated[int, Field(description="Wall clock at the zero of every `*_ns`.")]
    complete: Annotated[bool, Field(description="False when the run broke off: what it had is here.")]
    error: Annotated[str | None, Field(description="What could not be measured, where, why, and the fix.")] = None
    summary: Summary
    workload: Workload
    fingerprint: Fingerprint
    steps: Annotated[list[Step], Field(description="How long the lab's building took, step by step.")] = []
    warmups: list[Repeat] = []
    repeats: list[Repeat] = []


def schema_text() -> str:
    """The JSON Schema of a result, as it is committed."""
    schema: dict[str, Any] = Result.model_json_schema(by_alias=True, mode="serialization")
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def load_result(path: Path) -> Result:
    """The result in a file, or in a folder's `result.json`."""
    file = path / "result.json" if path.is_dir() else path
    try:
        content = textfile.read_bytes(file, str(file), most_bytes=_MOST_BYTES)
    except InputError as error:
        raise UserError(str(error)) from error
    try:
        return Result.model_validate_json(content)
    except ValidationError as error:
        raise UserError(_refusal(error, content, str(file))) from error


def _refusal(error: ValidationError, content: bytes, shown: str) -> str:
    try:
        document = jsonfile.parse_json(textfile.decoded(content, shown), shown)
    except InputError as damage:
        return str(damage)
    why = validation_errors.sentence(validation_errors.explain(error, Result, document, most=_MOST_TOLD))
    return f"{shown} is no result of this version: {why}"
