"""Turns what pydantic refuses into one line a key, named by its path, with the nearest key that exists."""

from __future__ import annotations

import difflib
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

_LONGEST_VALUE = 80


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """All refusals of `error`, one a line, each with its path in the file."""
    return "\n".join(_explain_one(dict(problem), model) for problem in error.errors(include_url=False))


def _explain_one(problem: dict[str, Any], model: type[BaseModel]) -> str:
    location: tuple[int | str, ...] = problem["loc"]
    path = dotted(location)
    if problem["type"] == "extra_forbidden":
        keys = _keys_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), keys, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(keys)}"
        return f"{path}: unknown key{hint}"
    if problem["type"] == "missing":
        return f"{path}: missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error":
        return f"{path}: {message}" if path else message
    if problem["type"] == "json_invalid":
        return message
    value = repr(problem["input"])
    return f"{path}: {message}, not {value[:_LONGEST_VALUE]}"


def dotted(location: tuple[int | str, ...]) -> str:
    """`("hosts", 0, "name")` as `hosts[0].name`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        if isinstance(part, int):
            continue
        inner = next((_model_in(f.annotation) for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
