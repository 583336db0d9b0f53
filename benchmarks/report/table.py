"""The table that a person reads in ten seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.figures.slo import percent
from benchmarks.figures.summary import Percentiles, PerRepeat, Summary
from benchmarks.model.result import Result

_STYLE = {"good": "green", "not-met": "yellow", "timeout": "red", "error": "red"}
_VERBS = ("create", "list", "get", "update", "delete")


@dataclass(frozen=True)
class _Column:
    """A column of the table: its heading, and what a result has there."""

    heading: str
    cell: Callable[[Result], Text | str]
    is_figure: bool = False
    wraps: bool = True


def _columns(results: Sequence[Result], since: str) -> list[_Column]:
    """Success first, then throughput, start-up, calls, when it was measured, and the verdict."""
    several = len({_lab(result) for result in results}) > 1
    return [
        _Column("workload", lambda r: r.summary.workload, wraps=False),
        *([_Column("lab", _lab)] if several else []),
        _Column("success", _success, is_figure=True),
        _Column("pods/min\n(min-max)", lambda r: _throughput(r.summary.throughput_true_pods_per_min), is_figure=True),
        _Column(
            "pods/min by\nK-Bench", lambda r: _throughput(r.summary.throughput_kbench_pods_per_min), is_figure=True
        ),
        _Column("start-up s\nmedian (max)", lambda r: _seconds(r.summary.startup_ms.get("startup")), is_figure=True),
        _Column(f"API calls, median ms\n{'/'.join(_VERBS)}", _calls, is_figure=True, wraps=False),
        _Column("repeats", lambda r: f"{r.summary.repeats}+{r.summary.warmups}w", is_figure=True),
        _Column("measured\n(UTC)", lambda r: _when(r, since), wraps=False),
        _Column("verdict", _verdict),
    ]


def results_table(results: Sequence[Result], since: str = "") -> Table:
    """One row a result.

    What was measured before `since` (UTC, as `started_at` is written) has an asterisk.
    """
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    columns = _columns(results, since)
    for column in columns:
        table.add_column(column.heading, justify="right" if column.is_figure else "left", no_wrap=not column.wraps)
    for result in results:
        table.add_row(*(column.cell(result) for column in columns))
    return table


def print_results(results: Sequence[Result], console: Console, since: str = "") -> None:
    """The table, then what each verdict rests on where it is not good."""
    console.print(results_table(results, since))
    if any(_is_older(result, since) for result in results):
        console.print("* measured by an earlier run", highlight=False, markup=False)
    for result in results:
        summary = result.summary
        if summary.outcome.verdict != "good":
            console.print(f"{summary.workload}: {summary.outcome.reason}", highlight=False, markup=False)
        missed = [slo.text for slo in summary.slo if slo.status == "not-applicable"]
        for text in [*missed, *summary.notes]:
            console.print(f"{summary.workload}: {text}", highlight=False, markup=False)


def one_line(summary: Summary) -> str:
    """A run in one line, for the end of a command's output."""
    if summary.success_rate is None:
        return f"{summary.workload}: {summary.outcome.verdict}, nothing was measured"
    line = f"{summary.workload}: {percent(summary.success_rate)} of {summary.pods_requested} pods up"
    if summary.throughput_true_pods_per_min:
        line += f", {summary.throughput_true_pods_per_min.median:.0f} pods/min"
    if summary.throughput_kbench_pods_per_min:
        line += f" ({summary.throughput_kbench_pods_per_min.median:.0f} by K-Bench's formula)"
    if startup := summary.startup_ms.get("startup"):
        line += f", start-up {startup.median / 1e3:.2f} s median, {startup.max / 1e3:.2f} s max"
    return f"{line}: {summary.outcome.verdict}"


def _is_older(result: Result, since: str) -> bool:
    return result.summary.started_at < since


def _when(result: Result, since: str) -> str:
    """To the minute, without the year."""
    date, _, clock = result.summary.finished_at.partition("T")
    return f"{date[5:]} {clock[:5]}{'*' if _is_older(result, since) else ''}"


def _success(result: Result) -> Text | str:
    rate = result.summary.success_rate
    return Text("-" if rate is None else percent(rate), style="" if rate == 1 else "bold red")


def _calls(result: Result) -> str:
    return "/".join(_milliseconds(result.summary, verb) for verb in _VERBS)


def _verdict(result: Result) -> Text:
    verdict = result.summary.outcome.verdict
    return Text(verdict, style=_STYLE[verdict])


def _lab(result: Result) -> str:
    lab = result.fingerprint.lab
    return (lab.stack or lab.kind) if lab else result.fingerprint.server


def _throughput(figures: PerRepeat | None) -> str:
    if figures is None:
        return "-"
    spread = f" ({figures.min:.0f}-{figures.max:.0f})" if figures.n > 1 else ""
    return f"{figures.median:.0f}{spread}"


def _seconds(figures: Percentiles | None) -> str:
    return f"{figures.median / 1e3:.2f} ({figures.max / 1e3:.2f})" if figures else "-"


def _milliseconds(summary: Summary, verb: str) -> str:
    found = [figures for kind, figures in summary.api_ms.items() if kind.startswith(f"{verb} ")]
    return f"{found[0].median:.1f}" if found else "-"
