"""What pydantic refuses, in words for the person who corrects it: where it stands, the key, what it takes, and what it has."""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, RootModel, ValidationError

from inputs.errors import one_paragraph
from inputs.places import Place, Source, dotted
from inputs.suggestions import nearest

_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")
_OF_TYPE = ("int_", "float_", "bool_", "string_type", "tuple_type", "list_type", "dict_type", "model_")
_KEY = "[key]"
"""How pydantic calls a name in a mapping of names."""
_LONGEST_VALUE = 80
HIDDEN = "[secret]"
"""What stands for a value that messages do not show."""
VALUE_NOT_SHOWN: Final = "value_not_shown"
"""The type of a ``PydanticCustomError`` about a value that messages must not hold."""
_QUOTED = 60
"""Characters that messages quote of an entry."""
_CREDENTIALS = re.compile(r"//[^\s']*@")


def explain(error: ValidationError, model: type[BaseModel], source: Source, *, most: int = 20) -> str:
    """All that is wrong, one after another, each with its file and line."""
    problems = [dict(problem) for problem in error.errors(include_url=False)]
    # A key that is missing is often one that was misspelt.
    problems.sort(key=lambda problem: problem["type"] == "missing")
    told = [_explain(problem, model, source) for problem in problems if not _follows(problem, problems)]
    more = [f"and {len(told) - most} more"] if len(told) > most else []
    return "; ".join([*told[:most], *more])


def sentence(problems: str) -> str:
    """The same with what ends a sentence."""
    return problems if problems.endswith(("?", ".", "!")) else f"{problems}."


def shown(value: object, text: str | None = None) -> str:
    """A value as a person would write it.

    Args:
        value: as it was read.
        text: as it was written, where that is known.
    """
    if text == HIDDEN:
        return HIDDEN
    if value is None and text in (None, "", "~", "null", "Null", "NULL"):
        # A key with nothing behind it is one that was forgotten.
        return "empty"
    reads = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
    if text is None or isinstance(value, str):
        return _short(text or (reads if isinstance(value, bool) else repr(value)))
    return _short(text) if reads == text else f"{_short(text)}, which YAML reads as {_short(reads)}"


def _short(text: str) -> str:
    text = " ".join(_CREDENTIALS.sub("//...@", text).split())
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _follows(problem: dict[str, Any], problems: list[dict[str, Any]]) -> bool:
    """Whether a list is too short only because what is in it was refused."""
    within = [other for other in problems if other["loc"][: len(problem["loc"])] == problem["loc"]]
    return problem["type"] == "too_short" and bool(problem["input"]) and len(within) > 1


def _explain(problem: dict[str, Any], model: type[BaseModel], source: Source) -> str:
    place: Place = problem["loc"]
    message = " ".join(str(problem["msg"]).removeprefix("Value error, ").split())
    blamed = _entry(place, message, problem["input"]) or _blamed(place, message, source)
    return one_paragraph(f"{source.at(blamed)}: {_problem_text(problem, message, model, source)}")


def _entry(place: Place, message: str, value: object) -> Place:
    """The entry of a list that a message quotes."""
    for number, entry in enumerate(value if isinstance(value, list | tuple) else ()):
        if isinstance(entry, str) and (repr(entry) in message or repr(entry[:_QUOTED]) in message):
            return (*place, number)
    return ()


def _blamed(place: Place, message: str, source: Source) -> Place:
    """Where the person has to look: what is wrong with several keys together is told where the first one stands."""
    if place and place[-1] == _KEY:
        return place[:-1]
    named = [(*place, word) for word in re.findall(r"[A-Za-z0-9]+", message)]
    return next((one for one in named if source.has(one)), place)


def _problem_text(problem: dict[str, Any], message: str, model: type[BaseModel], source: Source) -> str:
    place: Place = problem["loc"]
    location, value = dotted(place), problem["input"]
    is_value = shown(value, source.text(place))
    if problem["type"] == VALUE_NOT_SHOWN:
        return f"{location}: {message}"
    if problem["type"] == "extra_forbidden":
        return _unknown(place, model)
    if problem["type"] == "missing":
        what = _schema_at(model, place).get("description", "")
        return f"{location}: is missing{f' ({what})' if what else ''}"
    if problem["type"] == "invalid_key":
        return f"{location}: a key is text, and it is {is_value}"
    if not location:
        return message
    if place[-1] == _KEY:
        pattern = problem.get("ctx", {}).get("pattern", "")
        return f"{dotted(place[:-2])}: takes names of the form {pattern}, and one is {is_value}"
    if problem["type"] == "literal_error":
        expected = str(problem["ctx"]["expected"])
        near = nearest(str(value), re.findall(r"'([^']+)'", expected))
        return f"{location}: takes {expected}, and it is {is_value}{'.' if near else ''}{near}"
    if problem["type"] == "value_error":
        return f"{location}: {_lower(message)}" + (
            "" if isinstance(value, Mapping) or ", and not " in message else f", and it is {is_value}"
        )
    schema = _schema_at(model, place)
    if problem["type"] == "string_pattern_mismatch" and not schema.get("examples"):
        return f"{location}: takes text of the form {problem['ctx']['pattern']}, and it is {is_value}"
    if problem["type"] == "too_short":
        return f"{location}: takes at least {problem['ctx']['min_length']}, and it is {is_value}"
    takes = _takes(schema)
    if not takes or not (
        problem["type"] in (*_BOUNDS, "string_pattern_mismatch") or problem["type"].startswith(_OF_TYPE)
    ):
        return f"{location}: {_lower(message)}, and it is {is_value}"
    fix = _fix(schema, value, source.text(place))
    return f"{location}: takes {takes}, and it is {is_value}{f': {fix}' if fix else ''}"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _unknown(place: Place, model: type[BaseModel]) -> str:
    location, key = dotted(place), str(place[-1])
    known = sorted(f.alias or n for n, f in _model_at(model, place[:-1]).model_fields.items())
    if key.partition(".")[0] in known and "." in key:
        return (
            f"unknown key {location}: a dot leads into a setting only with --path: "
            f"'pulumi config set --path litelab:{location} VALUE'"
        )
    return f"unknown key {_short(location)}.{nearest(key, known)} Keys here: {', '.join(known)}"


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel]:
    """The model that holds the key at a place."""
    for part in place:
        if issubclass(model, RootModel):
            # Its keys are names of the file's own.
            model = _model_in(model.model_fields["root"].annotation) or model
            continue
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                model = _model_in(field.annotation) or model
                break
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)


def _takes(schema: dict[str, Any]) -> str:
    """What a key takes, in words; empty when its schema does not tell."""
    low, high, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    number = {"integer": "a whole number", "number": "a number"}.get(schema.get("type", ""), "")
    if number:
        above = f" above {above}" if above is not None else ""
        return number + (f" from {low}" if low is not None else above) + (f" to {high}" if high is not None else "")
    examples = schema.get("examples")
    words = {"boolean": "true or false", "array": "a list", "object": "keys and values", "string": "text"}
    return words.get(schema.get("type", ""), "") + (f" such as {examples[0]}" if examples else "")


def _fix(schema: dict[str, Any], value: object, text: str | None) -> str:
    """What to do about a value, where more than what is taken can be said."""
    low, high = schema.get("minimum"), schema.get("maximum")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and high is not None and value > high:
        return f"set it to {high} or less"
    if is_number and low is not None and value < low:
        return f"set it to {low} or more"
    if schema.get("type") == "string" and (is_number or isinstance(value, bool)):
        return "put it in quotes" if text is None else f"put it in quotes: '{_short(text)}'"
    if schema.get("type") == "array" and isinstance(value, str) and text is None:
        return f"write [{_short(value)}]"
    return ""


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _schema_at(model: type[BaseModel], place: Place) -> dict[str, Any]:
    """The JSON Schema of what is at a place; empty when it has none."""
    whole = _schema(model)
    schema: dict[str, Any] = _plain(whole, whole)
    for part in place:
        inside = inside_of(schema, part)
        schema = _plain(inside, whole) if isinstance(inside, dict) else {}
    return schema


def inside_of(schema: dict[str, Any], part: int | str) -> Any:
    """The schema of a list's entry, or of a key's value."""
    if isinstance(part, int):
        return schema.get("items")
    names: dict[str, Any] = schema.get("patternProperties") or {}
    return (
        schema.get("properties", {}).get(part) or schema.get("additionalProperties") or next(iter(names.values()), None)
    )


def _plain(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Without references, and without the alternative of nothing."""
    for one in alternatives(schema, whole):
        if one.get("type") != "null":
            return (
                one
                if "description" in one or "description" not in schema
                else {**one, "description": schema["description"]}
            )
    return schema


def alternatives(schema: dict[str, Any], whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each of what may be there, without references."""
    for one in schema.get("anyOf") or [schema]:
        if "$ref" in one:
            yield from alternatives(whole["$defs"][one["$ref"].rpartition("/")[2]], whole)
        else:
            yield one
