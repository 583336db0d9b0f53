"""The command line: `python -m benchmarks VERB`. A new verb is one module in `commands/` and one line here."""

from __future__ import annotations

import sys

import typer

from benchmarks.commands.check import check
from benchmarks.commands.run import run
from benchmarks.commands.schema import schema
from benchmarks.commands.show import show
from benchmarks.model.outcome import Ended, ExitCode, MeasurementError, UserError

app = typer.Typer(
    name="benchmarks", help="Measure Kubernetes labs.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False,
)  # fmt: skip
_USAGE_EXIT_CODE = 2

for verb in (run, check, show, schema):
    app.command()(verb)


def main() -> None:
    """Runs the command line; mistakes of the user end without a traceback."""
    try:
        app(prog_name="python -m benchmarks", standalone_mode=True)
    except Ended as end:
        sys.exit(end.exit_code)
    except SystemExit as end:  # the parser's own code for a wrong option is 2, which means a timeout here
        sys.exit(ExitCode.ERROR if end.code == _USAGE_EXIT_CODE else end.code)
    except (UserError, MeasurementError) as error:
        print(error, file=sys.stderr)
        sys.exit(ExitCode.ERROR)
