"""MicroK8s."""
