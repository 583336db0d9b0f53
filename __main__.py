"""One Pulumi program for every lab: load the settings, declare the lab, export what it yields."""

from __future__ import annotations

import signal

import pulumi

from components.config.settings import SettingsError
from components.config.stack_config import load_settings
from components.lab import Lab

# After an error or a cancel Pulumi interrupts this process. As a KeyboardInterrupt that is lost in a wait, and Pulumi waits
# five seconds for it; as a signal it ends us. A terminal's Ctrl-C goes to Pulumi alone.
signal.signal(signal.SIGINT, signal.SIG_DFL)

try:
    lab = Lab(pulumi.get_stack(), load_settings())
except SettingsError as error:
    # Pulumi shows this kind of error without a traceback. It counts the stack and the lab themselves as created beside it.
    raise pulumi.RunError(str(error).replace("Nothing was made.", "No host was changed.")) from None

pulumi.export("hosts", lab.host_summary)
pulumi.export("cluster", lab.cluster_summary)
pulumi.export("kubeconfig", lab.kubeconfig)
pulumi.export("results", lab.results)
pulumi.export("resultsDir", lab.results_dir)
