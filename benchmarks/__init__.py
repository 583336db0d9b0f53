"""What measures: plain Python that gets a kubeconfig, the hosts' ssh coordinates, a workload, and writes a result."""

__version__ = "0.1.0"
