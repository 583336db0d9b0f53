"""The client goes first on its own machine: stamps must not wait while a lab on the same cores is busy.

Without it, on two busy cores, 1 % of the stamps came 3 ms late and more, with it 0.2 ms; the client uses 2 % of a core.
"""

from __future__ import annotations

import os

_NICE = -10


def go_first() -> None:
    """Asks for real-time scheduling, else for a better nice value; without the right to either nothing changes."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        return
    except (PermissionError, AttributeError):
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    except PermissionError:
        return


def scheduling() -> str:
    """How this process is scheduled now."""
    policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK if hasattr(os, "sched_getscheduler") else 0
    return "real-time" if policy == os.SCHED_RR else f"nice {os.getpriority(os.PRIO_PROCESS, 0)}"
