"""The no-op program: as many resources as a lab that stands, with the same names, parents, dependencies and inputs' sizes.

Its shape is read from the lab's state, or from a preview of a lab that nobody makes, so it follows whatever the components declare.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.perf.rounds import FOLDER, PERF
from tools.lab import stacks

SECRET = "4dabf18193072939515e22adb298388d"
"""Pulumi's mark of a secret in a state."""


def shape_of(stack: str) -> list[dict[str, Any]]:
    """Every component and command of a stack that is up, in an order in which they can be declared."""
    state = stacks.STATE / ".pulumi" / "stacks" / stacks.NAME / f"{stack}.json"
    resources = json.loads(state.read_text(encoding="utf-8"))["checkpoint"]["latest"]["resources"]
    return entries(resources)


def entries(resources: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the no-op program takes, of resources as a state or a preview has them."""
    return [_entry(r) for r in resources if not r["type"].startswith("pulumi:")]


def _entry(resource: dict[str, Any]) -> dict[str, Any]:
    inputs = resource.get("inputs", {})
    stdin = inputs.get("stdin", "")
    secret = isinstance(stdin, dict)
    # Encrypted text is Base64: four characters for three.
    size = len(stdin["ciphertext"]) * 3 // 4 if secret and SECRET in stdin else len(str(stdin))
    return {
        "name": _name(resource["urn"]),
        "type": resource["type"],
        "isCommand": resource.get("custom", False),
        "parent": _name(resource.get("parent", "")),
        "dependencies": [_name(urn) for urn in resource.get("dependencies", [])],
        "deletedWith": _name(resource.get("deletedWith", "")),
        "stdin": size,
        "secret": secret,
        "environment": inputs.get("environment", {}),
        "triggers": len(inputs.get("triggers", [])),
    }


def _name(urn: str) -> str:
    """A resource's name; nothing for none, and for the stack itself, which is everything's last parent."""
    return "" if "::pulumi:pulumi:Stack::" in urn else urn.rpartition("::")[2]


@contextlib.contextmanager
def noop_program() -> Iterator[Path]:
    """A copy of the no-op program in a folder of its own; ``shape.json`` is still to be written there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = Path(tempfile.mkdtemp(prefix="noop-", dir=FOLDER))
    try:
        shutil.copytree(PERF / "programs" / "noop", program, dirs_exist_ok=True)
        yield program
    finally:
        shutil.rmtree(program)


def write_shape(program: Path, stack: str) -> int:
    """Give the no-op program the shape of a stack that is up; how many commands it has."""
    shape = shape_of(stack)
    (program / "shape.json").write_text(json.dumps(shape), encoding="utf-8")
    return sum(entry["isCommand"] for entry in shape)
