"""Host kinds, one module each: it makes a lab's hosts, alike by construction, and knows nothing of Kubernetes.

A module offers ``KIND``, a ``components.contract.HostKind``; its name is what ``hosts.kind`` takes.
"""
