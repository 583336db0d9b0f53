"""Where to look on a lab's hosts. ``python -m components.checks.guide STACK`` prints it as JSON, for ``make status`` and ``make logs``.

``{"distribution", "kind", "kubectl", "hosts": {"host-1": {"role", "units"}}}``; each host's units begin with the one whose journal
tells most.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from components.checks import preflight
from components.config import discovery, settings


def of(lab: settings.LabSettings) -> dict[str, Any]:
    """The guide of a lab with these settings."""
    guide = discovery.distribution(lab.distribution).guide
    roles = ["controller"] * lab.controllers + ["worker"] * lab.workers
    units = {"controller": guide.controller + guide.node, "worker": guide.worker + guide.node}
    return {
        "distribution": lab.distribution,
        "kind": lab.hosts.kind,
        "kubectl": guide.kubectl,
        "hosts": {f"host-{n}": {"role": role, "units": list(units[role])} for n, role in enumerate(roles, start=1)},
    }


def main(arguments: list[str]) -> int:
    """Print the guide of a stack's lab; 1 and one paragraph when its settings can't be read."""
    if len(arguments) != 1:
        print("usage: python -m components.checks.guide STACK", file=sys.stderr)
        return 2
    try:
        print(json.dumps(of(preflight.lab_of(arguments[0]))))
    except settings.SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
