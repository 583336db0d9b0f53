"""How a command ends: its exit code, its verdict in one word, and the errors that a person is to read."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

Verdict = Literal["good", "error", "timeout", "not-met"]


class ExitCode(IntEnum):
    """The exit codes that every verb shares."""

    GOOD = 0
    ERROR = 1
    TIMEOUT = 2
    NOT_MET = 3


EXIT_CODE_OF: dict[Verdict, ExitCode] = {
    "good": ExitCode.GOOD,
    "error": ExitCode.ERROR,
    "timeout": ExitCode.TIMEOUT,
    "not-met": ExitCode.NOT_MET,
}


class Ended(Exception):  # noqa: N818 - no error
    """A verb that has done its work and ends with this exit code."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(f"exit code {exit_code}")


class UserError(Exception):
    """Something that was asked for can't be: the message names it and what is possible. Nothing has been made."""


class MeasurementError(Exception):
    """A measurement that broke off, told in one paragraph: what, where, why and what fixes it."""

    def __init__(self, *, what: str, where: str, why: str, fix: str) -> None:
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(f"Could not measure: {what} ({where}). {_sentence(why)} {_sentence(fix)}")


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else text + "."
