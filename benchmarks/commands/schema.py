"""`schema`: the JSON Schema of results."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.model.result import SCHEMA_FILE, schema_text
from benchmarks.model.result_folder import write_whole


def schema(
    write: Annotated[bool, typer.Option("--write", help="Write it to its committed file instead.")] = False,
) -> None:
    """Print the JSON Schema of result.json."""
    if write:
        print(write_whole(SCHEMA_FILE, schema_text()))
    else:
        print(schema_text(), end="")
