"""Commands on a lab's hosts for Python that runs on the operator's machine: by ``ssh -F``, as root, each answer in a frame.

A login may print what it likes before and after (``.bashrc``, ``/etc/profile``), and that is never taken for an answer:
the frame has a mark of its own in each call. ``hostio.sh`` is the same for shell scripts.
"""

from __future__ import annotations

import base64
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
FRAME = (HERE / "frame.sh").read_text(encoding="utf-8").splitlines()[-1]
"""What the host's bash runs around a command."""
NOISE_SHOWN = 300


class AnswerError(Exception):
    """A host gave no answer. The message says why, with the host's own words.

    Attributes:
        code: exit code of ssh, which is 255 when the host was not reached; None after the limit.
        said: what ssh and the command printed as errors.
    """

    def __init__(self, message: str, code: int | None = None, said: str = "") -> None:
        super().__init__(message)
        self.code, self.said = code, said


@dataclass
class Frame:
    """What a host prints, line by line: noise, answer, noise."""

    mark: str
    noise: list[str] = field(default_factory=list)
    began: bool = False
    ended: bool = False

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines of the answer, as they come."""
        held: str | None = None
        for line in lines:
            text = line.rstrip("\n")
            if self.began and not self.ended:
                if text == f"{self.mark} end":
                    # The line's end before the mark is the frame's.
                    self.ended = True
                    if held and held != "\n":
                        yield held.removesuffix("\n")
                    held = None
                    continue
                if held is not None:
                    yield held
                held = line
            elif text == f"{self.mark} begin" and not self.ended:
                self.began = True
            elif text.strip():
                self.noise.append(text)
        if held is not None:
            yield held

    @property
    def is_whole(self) -> bool:
        """Whether the host printed the whole of its answer."""
        return self.began and self.ended

    def explain(self) -> str:
        """Why there is no whole answer."""
        shown = " | ".join(self.noise)[-NOISE_SHOWN:]
        if self.began:
            return "its answer broke off"
        if shown:
            return f"it ran nothing, and its login printed: {shown}. A login without a terminal must start the command that it is given (see ~/.bashrc, /etc/profile, the user's shell and sshd's ForceCommand there)"
        return "it printed no answer"


def new_mark() -> str:
    """For one call's frame."""
    return f"litelab-{secrets.token_hex(8)}"


def framed(mark: str, command: str, user: str = "root") -> str:
    """The words for ssh that let bash run a command as root, whatever the login shell is."""
    sudo = "" if user == "root" else "sudo -n "
    # No shell finds anything to change in these: sh, bash, zsh, fish, csh.
    return f"{sudo}bash --norc -c '{FRAME}' {mark} {base64.b64encode(command.encode()).decode()}"


def login(run: Path, host: str) -> str:
    """As whom ssh logs in to a host."""
    try:
        lines = (run / "ssh" / host).read_text(encoding="utf-8").splitlines()
    except OSError:
        return "root"
    return next((line.removeprefix("User ") for line in lines if line.startswith("User ")), "root")


def words(run: Path, host: str, mark: str, command: str, options: Sequence[str] = ()) -> list[str]:
    """The ssh command whose output is a frame around what a command prints on a host, where root runs it."""
    return ["ssh", "-F", str(run / "ssh_config"), *options, host, framed(mark, command, login(run, host))]


def ask(
    run: Path, host: str, command: str, *, stdin: str = "", limit_s: float = 60.0, options: Sequence[str] = ()
) -> str:
    """What a command prints on a host, where root's bash runs it.

    Args:
        run: the stack's run folder.
        host: its name in the lab.
        command: for bash.
        stdin: what the command reads.
        limit_s: seconds for all of it.
        options: for ssh.

    Raises:
        AnswerError: the host was not reached, the command failed, or the answer is not whole.
    """
    mark = new_mark()
    try:
        done = subprocess.run(
            words(run, host, mark, command, options),
            input=stdin, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        msg = f"no answer over ssh within {limit_s:.0f} s"
        raise AnswerError(msg) from None
    frame = Frame(mark)
    answer = "".join(frame.lines(done.stdout.splitlines(keepends=True)))
    if done.returncode == 0 and frame.is_whole:
        return answer
    said = done.stderr.strip()
    last = " ".join(said.split())[-400:]
    if not frame.began and frame.noise:
        last = f"{last} ({frame.explain()})".strip()
    elif done.returncode == 0:
        last = frame.explain()
    raise AnswerError(last or f"exit code {done.returncode}", done.returncode, said)


def restore(run: Path) -> None:
    """Write a lab's ssh configuration again where it is missing, or the checkout was moved."""
    subprocess.run([str(HERE / "records.sh"), str(run), "restore"], check=True, stdin=subprocess.DEVNULL)


def put_record(run: Path, host: str, record: Sequence[tuple[str, str]] | Mapping[str, str]) -> None:
    """A host more in ``ssh_config`` and ``known_hosts``, or one that is reached otherwise; ``config.sh`` says what a record is."""
    pairs = record.items() if isinstance(record, Mapping) else record
    text = "".join(f"{key} {value}\n" for key, value in pairs)
    subprocess.run([str(HERE / "records.sh"), str(run), "put", host], input=text, text=True, check=True)


def drop_record(run: Path, host: str) -> None:
    """A host less."""
    subprocess.run([str(HERE / "records.sh"), str(run), "drop", host], check=True, stdin=subprocess.DEVNULL)
