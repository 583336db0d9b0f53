"""What a stack's lab is made of, for set-up: ``python -m components.checks.needs STACK`` prints it as JSON.

``{"hosts": kind, "distribution": name, "local": whether hosts run on this machine, "image": whether set-up builds one for them,
"kubernetes": the minor that set-up builds for them, or ""}``
"""

from __future__ import annotations

import json
import sys

from components.checks import preflight
from components.config import settings


def main(arguments: list[str]) -> int:
    """Print it; 1 and one paragraph when the settings can't be used."""
    if len(arguments) != 1:
        print("usage: python -m components.checks.needs STACK", file=sys.stderr)
        return 2
    try:
        lab = preflight.lab_of(arguments[0])
    except settings.SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    hosts = lab.hosts
    found = {
        "hosts": hosts.kind,
        "distribution": lab.distribution,
        "local": hosts.is_local,
        "image": hosts.builds_image,
        "kubernetes": lab.minor if lab.distribution == "upstream" else "",
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
