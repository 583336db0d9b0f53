"""What pydantic refuses, in the words of one who is to mend it: the key by its path, what it takes, and what it has."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_BOUNDS = ("greater_than_equal", "less_than_equal", "finite_number")
_OF_TYPE = ("int_", "float_", "bool_", "string_type", "tuple_type", "list_type", "dict_type", "model_")
_KEY = "[key]"
"""How pydantic calls a name in a mapping of names."""

Path = Sequence[int | str]


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """All that is wrong, one after another."""
    problems = [dict(problem) for problem in error.errors(include_url=False)]
    return "; ".join(_explain(problem, model) for problem in problems if not _follows(problem, problems))


def nearest(word: str, known: Sequence[str]) -> str:
    """A question that offers the known word which resembles this one, with a blank before it; empty when none does."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def _follows(problem: dict[str, Any], problems: list[dict[str, Any]]) -> bool:
    """Whether a list is too short only because what is in it was refused."""
    within = [other for other in problems if other["loc"][: len(problem["loc"])] == problem["loc"]]
    return problem["type"] == "too_short" and bool(problem["input"]) and len(within) > 1


def _explain(problem: dict[str, Any], model: type[BaseModel]) -> str:
    path: Path = problem["loc"]
    location, value = ".".join(map(str, path)), problem["input"]
    if problem["type"] == "extra_forbidden":
        return _unknown(path, model)
    if problem["type"] == "missing":
        return f"{location}: is missing"
    if problem["type"] == "invalid_key":
        return f"{location}: a key is text, and it is {_shown(value)}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not location:
        return message
    if path[-1] == _KEY:
        pattern = problem.get("ctx", {}).get("pattern", "")
        return f"{'.'.join(map(str, path[:-2]))}: takes names of the form {pattern}, and one is {_shown(value)}"
    if problem["type"] == "literal_error":
        expected = str(problem["ctx"]["expected"])
        near = nearest(str(value), re.findall(r"'([^']+)'", expected))
        return f"{location}: takes {expected}, and it is {_shown(value)}{'.' if near else ''}{near}"
    if problem["type"] == "value_error":
        return f"{location}: {message[0].lower()}{message[1:]}, and it is {_shown(value)}"
    shown = _schema_at(model, path)
    if problem["type"] == "string_pattern_mismatch" and not shown.get("examples"):
        return f"{location}: takes text of the form {problem['ctx']['pattern']}, and it is {_shown(value)}"
    if problem["type"] == "too_short":
        return f"{location}: takes at least {problem['ctx']['min_length']}, and it is {_shown(value)}"
    takes = _takes(shown)
    if not takes or not (
        problem["type"] in (*_BOUNDS, "string_pattern_mismatch") or problem["type"].startswith(_OF_TYPE)
    ):
        return f"{location}: {message[0].lower()}{message[1:]}, and it is {_shown(value)}"
    cure = _cure(shown, value)
    return f"{location}: takes {takes}, and it is {_shown(value)}{f': {cure}' if cure else ''}"


def _shown(value: object) -> str:
    """A value as a person would write it; a key with nothing behind it is one that was forgotten."""
    return "empty" if value is None else repr(value)


def _unknown(path: Path, model: type[BaseModel]) -> str:
    location, key = ".".join(map(str, path)), str(path[-1])
    known = sorted(f.alias or n for n, f in _model_at(model, path[:-1]).model_fields.items())
    if key.partition(".")[0] in known and "." in key:
        return (
            f"unknown key {location}: a dot leads into a setting only with --path: "
            f"'pulumi config set --path litelab:{location} VALUE'"
        )
    return f"unknown key {location}.{nearest(key, known)} Keys here: {', '.join(known)}"


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel]:
    """The model that holds the key at a path of keys."""
    for part in path:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                inside = [field.annotation, *get_args(field.annotation)]
                model = next((x for x in inside if isinstance(x, type) and issubclass(x, BaseModel)), model)
    return model


def _takes(shown: dict[str, Any]) -> str:
    """What a key takes, in words; empty when its schema does not tell."""
    low, high = shown.get("minimum"), shown.get("maximum")
    number = {"integer": "a whole number", "number": "a number"}.get(shown.get("type", ""), "")
    if number:
        return number + (f" from {low}" if low is not None else "") + (f" to {high}" if high is not None else "")
    examples = shown.get("examples")
    words = {"boolean": "true or false", "array": "a list", "object": "keys and values", "string": "text"}
    return words.get(shown.get("type", ""), "") + (f" such as {examples[0]}" if examples else "")


def _cure(shown: dict[str, Any], value: object) -> str:
    """What to do about a value, where more than what is taken can be said."""
    low, high = shown.get("minimum"), shown.get("maximum")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and high is not None and value > high:
        return f"set it to {high} or less"
    if is_number and low is not None and value < low:
        return f"set it to {low} or more"
    if shown.get("type") == "string" and (is_number or isinstance(value, bool)):
        return "put it in quotes"
    if shown.get("type") == "array" and isinstance(value, str):
        return f"write [{value}]"
    return ""


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _schema_at(model: type[BaseModel], path: Path) -> dict[str, Any]:
    """The JSON Schema of what is at a path; empty when it has none."""
    whole = _schema(model)
    shown: dict[str, Any] = _plain(whole, whole)
    for part in path:
        inside = shown.get("items") if isinstance(part, int) else _named(shown, part)
        shown = _plain(inside, whole) if isinstance(inside, dict) else {}
    return shown


def _named(shown: dict[str, Any], key: str) -> Any:
    names: dict[str, Any] = shown.get("patternProperties") or {}
    return shown.get("properties", {}).get(key) or shown.get("additionalProperties") or next(iter(names.values()), None)


def _plain(shown: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Without references, and without the alternative of nothing."""
    for one in _alternatives(shown):
        if "$ref" in one:
            return _plain(whole["$defs"][one["$ref"].rpartition("/")[2]], whole)
        if one.get("type") != "null":
            return one
    return shown


def _alternatives(shown: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from shown.get("anyOf") or [shown]
