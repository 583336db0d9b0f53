"""`show`: results as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.model.outcome import UserError
from benchmarks.model.result import load_result
from benchmarks.model.result_folder import RESULT
from benchmarks.report.table import print_results

_NARROWEST_TABLE = 146


def show(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR_OR_FILE...", help="Results, or folders that hold some.")],
    since: Annotated[
        str, typer.Option(metavar="UTC", help="Mark what was measured before, as 2026-11-30T02:00:00Z.")
    ] = "",
) -> None:
    """Print results as a table that is read in ten seconds."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_NARROWEST_TABLE)
    # A folder of results has links to the newest, and a shell's * names both.
    files = {file.resolve(): file for path in paths for file in _files(path)}
    print_results([load_result(file) for file in files.values()], console, since)


def _files(path: Path) -> list[Path]:
    """A folder stands for its own result, or for those one level below it."""
    if path.is_dir() and not (path / RESULT).exists():
        files = sorted(path.glob(f"*/{RESULT}"))
        if not files:
            msg = f"There is no {RESULT} in {path}, nor in a folder of it."
            raise UserError(msg)
        return files
    return [path / RESULT if path.is_dir() else path]
