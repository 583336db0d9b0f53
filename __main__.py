"""One Pulumi program for every lab: load the settings, declare the lab, export what it yields."""

from __future__ import annotations

import pulumi

from components.configuration import load_settings
from components.lab import Lab
from components.settings import SettingsError

try:
    settings = load_settings()
except SettingsError as error:
    # Pulumi shows this kind of error without a traceback.
    raise pulumi.RunError(str(error)) from None

lab = Lab(pulumi.get_stack(), settings)
pulumi.export("hosts", lab.host_summary)
pulumi.export("cluster", lab.cluster_summary)
pulumi.export("kubeconfig", lab.kubeconfig)
pulumi.export("results", lab.results)
pulumi.export("resultsDir", lab.results_dir)
