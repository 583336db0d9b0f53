"""What a lab that stands was made by: an older Litelab's goes on where it can, and is refused with the fix where it can't.

The number counts changes after which this program can't go on with a lab that stands: to what its run folder holds, to what steps
print, to what hosts keep. A lab goes with the scripts that made it, so ``destroy`` works whatever the numbers say.
"""

from __future__ import annotations

from components.places import PROJECT, lab_stands, run_folder

LAYOUT = 3
"""1: before there was a number; 2: keys of hosts are made on the hosts; 3: records of how hosts are reached."""
GOES_ON_FROM = 1
"""The oldest that this program goes on with: what has changed since is replaced by the ``up`` itself."""


def refusal(stack: str) -> str | None:
    """Why this program does not touch a stack's lab, with the fix; None when it does, or when no lab stands."""
    made_by = standing(stack)
    if made_by is None or GOES_ON_FROM <= made_by <= LAYOUT:
        return None
    if made_by > LAYOUT:
        return (
            f"Stack {stack}: its lab was made by a newer Litelab (layout {made_by}; this one knows {LAYOUT}). Go on with that version, or "
            f"remove the lab with 'make destroy STACK={stack}', which uses the scripts that made it, and make it anew. Nothing was changed."
        )
    return (
        f"Stack {stack}: its lab was made by an older Litelab (layout {made_by}), and this one goes on from {GOES_ON_FROM}. Remove it with "
        f"'make destroy STACK={stack}', which uses the scripts that made it, and make it anew; results stay. Nothing was changed."
    )


def standing(stack: str) -> int | None:
    """The layout of the lab that stands, or None when none does."""
    folder = PROJECT / run_folder(stack)
    if not lab_stands(folder):
        return None
    try:
        return int((folder / "layout").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 1
    except ValueError:
        # Half-written is ours; nobody else writes there.
        return LAYOUT


def mark(stack: str) -> None:
    """Note that this program makes the stack's lab."""
    path = PROJECT / run_folder(stack) / "layout"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(".layout.new")
    temporary.write_text(f"{LAYOUT}\n", encoding="utf-8")
    temporary.replace(path)
