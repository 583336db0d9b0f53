"""`run`: measures one workload on one cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.measure.progress import say
from benchmarks.model import result_folder, workload
from benchmarks.model.hosts_file import load_hosts, load_steps
from benchmarks.model.outcome import Ended
from benchmarks.report.table import one_line
from inputs.limits import MOST_REPEATS


def run(
    name: Annotated[str, typer.Argument(metavar="WORKLOAD", help="A workload's name, or a path to its YAML file.")],
    kubeconfig: Annotated[Path, typer.Option(help="The cluster's kubeconfig.")],
    out: Annotated[Path, typer.Option(help="Folder for result.json, summary.json and samples.jsonl.")],
    hosts: Annotated[Path | None, typer.Option(help="The lab's hosts (JSON): adds what only they know.")] = None,
    steps: Annotated[
        Path | None,
        typer.Option(envvar="LITELAB_STEPS", help="Steps of the lab's building (JSON), kept in the result."),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            help="A context of the kubeconfig instead of its current one; several are clusters of their own, and share the load."
        ),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, max=MOST_REPEATS, help="Measured repeats instead of the workload's own number.")
    ] = None,
    warmups: Annotated[int | None, typer.Option(min=0, help="Warm-ups instead of the workload's own number.")] = None,
    patience: Annotated[
        int, typer.Option(min=1, help="Multiply the workload's limits, for hosts that are slow, such as emulated ones.")
    ] = 1,
) -> None:
    """Measure a workload. Exit code 0 good, 1 error, 2 timeout, 3 threshold or SLO not met."""
    # Kubernetes' client takes a second to import, and no other verb needs it.
    from benchmarks.measure.run import run_workload

    chosen = workload.load(name, repeats=repeats, warmups=warmups).with_patience(patience)
    lab = load_hosts(hosts) if hosts else None
    taken = load_steps(steps) if steps else []
    say(f"{chosen.name}: {chosen.pods} pods at once, {chosen.warmups} warm-ups and {chosen.repeats} repeats")
    result = asyncio.run(run_workload(chosen, kubeconfig, lab, taken, out, context or ()))
    outcome = result.summary.outcome
    if outcome.verdict != "good":
        say(outcome.reason)
    print(one_line(result.summary))
    print(f"results: {out / result_folder.RESULT}")
    raise Ended(outcome.exit_code)
