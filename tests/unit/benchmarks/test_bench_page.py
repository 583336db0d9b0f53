"""``docs/workloads.md`` has every key of a workload file, with its default, and its example can be measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from benchmarks.model import workload
from benchmarks.model.workload import Limits, Slo, Workload
from inputs.limits import MOST_REPEATS

PAGE = (Path(__file__).parents[3] / "docs" / "workloads.md").read_text(encoding="utf-8")


def rows(first: str) -> dict[str, str]:
    """Keys and defaults of the table that begins with this heading."""
    table = PAGE.partition(f"\n\n| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    return {line.split("|")[1].strip(" `"): line.split("|")[-2].strip(" `") for line in table}


@pytest.mark.parametrize(("first", "model"), [("key", Workload), ("`limits`", Limits), ("`slo`", Slo)])
def test_the_page_has_every_key_with_its_default(first: str, model: type[BaseModel]) -> None:
    expected = {}
    for field in model.model_fields.values():
        default = field.default
        plain = "" if isinstance(default, BaseModel) else "none" if default is PydanticUndefined else default or "empty"
        expected[str(field.alias)] = f"{plain:g}" if isinstance(plain, float) else str(plain)
    assert rows(first) == expected


def test_the_examples_are_files_that_can_be_measured(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n# workloads/mine.yaml\n(.+?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(example)
    assert workload.load(str(tmp_path / "mine.yaml")).pods == 40


def test_the_page_names_what_comes_with_the_suite_and_the_bound_of_repeats() -> None:
    assert all(f"`{name}`" in PAGE for name in workload.shipped_names())
    assert f"1 to {MOST_REPEATS} repeats that count" in PAGE
