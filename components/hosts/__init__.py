"""Host kinds, one folder each: its component makes a lab's hosts, alike by construction, and knows nothing of Kubernetes.

A folder's ``component.py`` offers ``KIND``, a ``components.hosts.host.HostKind``; the folder's name is what ``hosts.kind`` takes.
"""
