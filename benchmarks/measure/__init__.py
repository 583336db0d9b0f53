"""Measuring: from a workload to raw samples."""
