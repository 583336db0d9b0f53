"""`check`: reads workload files as `run` does, and measures nothing."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from benchmarks.model import workload
from benchmarks.model.outcome import Ended, ExitCode, UserError
from inputs.limits import MOST_REPEATS


def check(
    names: Annotated[
        list[str], typer.Argument(metavar="WORKLOAD...", help="Workloads' names, or paths to YAML files.")
    ],
    repeats: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_REPEATS, help="Measured repeats instead of the workload's own number."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each workload with what is wrong with it, or an empty text.")
    ] = False,
) -> None:
    """Read workload files, and say what is wrong with them. Exit code 0 good, 1 error."""
    found = {name: _refusal(name, repeats) for name in names}
    found |= _twice([name for name in names if not found[name]])
    if as_json:
        print(json.dumps(found))
    else:
        for name, why in found.items():
            print(why or f"{name}: can be measured", file=sys.stderr if why else sys.stdout)
    raise Ended(ExitCode.ERROR if any(found.values()) else ExitCode.GOOD)


def _twice(names: list[str]) -> dict[str, str]:
    """Workloads whose results would have the name of another's."""
    first: dict[str, str] = {}
    found = {}
    for name in names:
        other = first.setdefault(workload.load(name).name, name)
        if other != name:
            found[name] = (
                f"{name}: has the name {workload.load(name).name!r} of {other}, and results are kept by that name. Give one another."
            )
    return found


def _refusal(name: str, repeats: int | None) -> str:
    try:
        workload.load(name, repeats=repeats)
    except UserError as error:
        return str(error)
    return ""
