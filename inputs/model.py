"""The base of models that are read from files that people write."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


class InputModel(BaseModel):
    """Keys in camel case; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """``workers: yes`` is not 1."""
        if isinstance(value, bool) and _takes_numbers(cls.model_fields[str(info.field_name)].annotation):
            kind = "int_type"
            raise PydanticCustomError(kind, "takes a number")
        return value


def _takes_numbers(annotation: Any) -> bool:
    inside = typing.get_args(annotation)
    kinds = {one if isinstance(one, type) else type(one) for one in (inside or (annotation,))}
    return bool(kinds & {int, float}) and bool not in kinds
