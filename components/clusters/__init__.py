"""Distributions: each turns hosts into a cluster, by ssh alone."""

from components.clusters.upstream import UpstreamCluster

DISTRIBUTIONS = {"upstream": UpstreamCluster}
"""Component by the name that ``distribution`` takes."""
