"""Speaking with a Kubernetes API server."""
