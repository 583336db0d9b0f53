"""Whether a lab is known to a Pulumi state, for what looks for leftovers on a machine."""

from __future__ import annotations

import re
from pathlib import Path


def is_known(run: Path, hosts: str, record: str = "lab.env") -> bool:
    """Whether the Pulumi state beside a run folder has hosts, or is being changed.

    Args:
        run: the lab's run folder.
        hosts: the type of their component, or how it begins: ``litelab:hosts:NspawnHosts``.
        record: the file in the run folder that such a lab has.
    """
    own = run.parent.parent
    if re.search(r"""(?m)^["']?backend["']? *:""", _text(own / "site.yaml")):
        # Another backend can't be asked here: a lab there is known as long as it has its record.
        return (run / record).exists()
    return hosts in _text(own / "state" / ".pulumi" / "stacks" / "litelab" / f"{run.name}.json")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
