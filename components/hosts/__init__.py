"""Host kinds: each makes a lab's hosts, alike by construction, and knows nothing of Kubernetes."""
