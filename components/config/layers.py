"""A lab's settings as they were given: what its file, the file for all labs and a stack's configuration say, and where."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from inputs import validation_errors, yamlfile
from inputs.errors import InputError
from inputs.places import Place, Source

NOTHING = ("", "~", "null")
"""What the configuration of a stack says to unset a setting that may be unset."""


@dataclass(frozen=True)
class Configured:
    """One ``litelab:`` value of a stack's configuration, which is text.

    Attributes:
        text: as it was typed; what was set with ``--path`` is JSON.
        secret: messages do not show it.
    """

    text: str
    secret: bool = False


@dataclass(frozen=True)
class Given:
    """Settings of several sources, those of later ones first.

    Attributes:
        content: what they say together.
        sources: where each value is from; what is above it decides when it is not there itself.
        default: what messages name when a value is from nowhere.
    """

    content: dict[str, Any]
    default: Source
    sources: dict[Place, Source] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Where settings were written does not tell them apart."""
        return isinstance(other, Given)

    def __hash__(self) -> int:
        """As ``__eq__`` has it."""
        return 0

    def over(self, content: Mapping[str, Any], source: Source) -> Given:
        """The same with what another source says, which wins."""
        sources = dict(self.sources)
        merged = _merge(self.content, content, (), source, sources)
        return Given(merged, self.default, sources)

    def at(self, place: Place) -> str:
        """File and line, or the key of the stack's configuration."""
        return self._source(place).at(place)

    def text(self, place: Place) -> str | None:
        """The value as it was written, where YAML reads it as something else than text."""
        return self._source(place).text(place)

    def has(self, place: Place) -> bool:
        """Whether anything was written there."""
        return place in self.sources and self.sources[place].has(place)

    def _source(self, place: Place) -> Source:
        while place and place not in self.sources:
            place = place[:-1]
        return self.sources.get(place, self.default)


def _merge(
    base: Mapping[str, Any], over: Mapping[str, Any], place: Place, source: Source, sources: dict[Place, Source]
) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below, here = merged.get(key), (*place, key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(below, value, here, source, sources)
            continue
        merged[key] = value
        for old in [known for known in sources if known[: len(here)] == here] if key in base else []:
            del sources[old]
        for inside in _places(value, here):
            sources[inside] = source
    return merged


def _places(value: Any, place: Place) -> Iterator[Place]:
    yield place
    if isinstance(value, Mapping):
        for key, inside in value.items():
            yield from _places(inside, (*place, key))
    elif isinstance(value, list):
        for number, inside in enumerate(value):
            yield from _places(inside, (*place, number))


@dataclass(frozen=True)
class Configuration:
    """A stack's ``litelab:`` configuration, as a source of values."""

    stack: str
    values: Mapping[str, Configured]

    def at(self, place: Place) -> str:  # noqa: ARG002 - messages have the key itself
        """Whose configuration it is."""
        return f"configuration of stack {self.stack}"

    def text(self, place: Place) -> str | None:
        """Nothing: text is taken as it was typed. A secret is not shown."""
        return validation_errors.HIDDEN if place and str(place[0]) in self.secrets else None

    def has(self, place: Place) -> bool:
        """Whether it was set."""
        return bool(place) and str(place[0]) in self.values

    @property
    def secrets(self) -> list[str]:
        """Keys whose values are secret."""
        return [key for key, value in self.values.items() if value.secret]

    def fix(self, key: str) -> str:
        """The command that corrects a key, as a sentence."""
        return f" Correct it with 'pulumi config set --stack {self.stack} --path litelab:{key} VALUE', or remove it with 'pulumi config rm'."

    def read(self, key: str, model: type[BaseModel] | None = None) -> Any:
        """The value of a key, as the setting of that name takes it; without a model, with all text as it was typed.

        Where a setting takes text it is the text as typed: no quotes are asked for that a shell takes off.

        Raises:
            InputError: it is no YAML where a list, a mapping, a number or true and false are taken.
        """
        where = f"configuration of stack {self.stack}: litelab:{key}"
        try:
            fit = _Fit(self.values[key].text, where)
            return fit.untyped() if model is None else fit.typed(_schema(model), key)
        except InputError as error:
            # It is one line, mostly.
            why = "is not what the setting takes (its value is secret, and not shown)."
            msg = f"{where}: {why}" if key in self.secrets else str(error).replace(f"{where}:1: ", f"{where}: ", 1)
            raise InputError(msg + self.fix(key)) from None


class _Fit:
    """One configured value, and how it becomes what a setting takes."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        self._schema: dict[str, Any] = {}

    def untyped(self) -> Any:
        document = yamlfile.parse_yaml(self._text, self._where, keep_text=True)
        return self._fitted(document.content, (), [], document)

    def typed(self, schema: dict[str, Any], key: str) -> Any:
        self._schema = schema
        known = schema["properties"].get(key)
        kinds = self._kinds([known]) if known else set()
        if not kinds & {"array", "object"}:
            return self._scalar(self._text, kinds)
        document = yamlfile.parse_yaml(self._text, self._where, keep_text=True)
        return self._fitted(document.content, (), [known], document)

    def _fitted(self, value: Any, place: Place, schemas: list[Any], document: yamlfile.Document) -> Any:
        if isinstance(value, Mapping):
            return {k: self._fitted(v, (*place, k), self._inside(schemas, k), document) for k, v in value.items()}
        if isinstance(value, list):
            return [self._fitted(v, (*place, n), self._inside(schemas, n), document) for n, v in enumerate(value)]
        text = document.text(place)
        return self._scalar(str(value or "") if text is None else text, self._kinds(schemas))

    def _alternatives(self, schemas: list[Any]) -> list[dict[str, Any]]:
        return [one for schema in schemas for one in validation_errors.alternatives(schema, self._schema)]

    def _inside(self, schemas: list[Any], part: int | str) -> list[Any]:
        found = [validation_errors.inside_of(one, part) for one in self._alternatives(schemas)]
        return [one for one in found if isinstance(one, dict)]

    def _kinds(self, schemas: list[Any]) -> set[str]:
        return {str(one.get("type", "string")) for one in self._alternatives(schemas)}

    def _scalar(self, text: str, kinds: set[str]) -> Any:
        if "null" in kinds and text in NOTHING:
            return None
        # Where a mapping is taken, a plain text may stand for it.
        if not kinds & {"string", "object"} and kinds & {"boolean", "integer", "number"}:
            return yamlfile.parse_yaml(text, self._where).content
        return text


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def configured(value: Any, *, secret: bool = False) -> Configured:
    """A value as Pulumi's program or ``pulumi config --json`` has it: text, or what was set with ``--path``."""
    if isinstance(value, Configured):
        return value
    return Configured(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), secret)
