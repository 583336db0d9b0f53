"""Host kinds: each makes a lab's hosts, alike by construction, and knows nothing of Kubernetes."""

from components.hosts.nspawn import NspawnHosts

KINDS = {"nspawn": NspawnHosts}
"""Component by the name that ``hosts.kind`` takes."""
