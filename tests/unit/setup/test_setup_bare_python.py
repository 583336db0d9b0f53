"""Set-up runs before there is a virtual environment, by a Python that has nothing but its standard library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
ROOMS = ("benchmarks", "components", "inputs", "tools")


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file(module: str) -> Path | None:
    path = PROJECT / module.replace(".", "/")
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _foreign() -> dict[str, str]:
    """Imports that a bare Python lacks, reached from set-up, and the module that has each."""
    found, seen, waiting = (
        dict[str, str](),
        set[str](),
        ["tools.setup.__main__", "tools.lab.__main__", "tools.environment"],
    )
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if module in seen or path is None:
            continue
        seen.add(module)
        for name in _imports(path):
            if name.partition(".")[0] in ROOMS:
                waiting.append(name)
            elif name.partition(".")[0] not in sys.stdlib_module_names:
                found[name] = module
    assert "inputs.tomlfile" in seen
    return found


def test_no_module_of_set_up_imports_what_set_up_installs() -> None:
    assert _foreign() == {}


def test_set_up_starts_without_any_package() -> None:
    # -S: no site-packages, whatever this machine's Python has.
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path[0:0] = [{str(PROJECT)!r}]; import tools.setup.__main__, tools.lab.__main__",
    ]
    assert subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stderr == ""
