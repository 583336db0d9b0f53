"""Upstream Kubernetes, built from its Go modules."""
