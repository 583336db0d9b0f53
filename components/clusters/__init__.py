"""Distributions: each turns hosts into a cluster, by ssh alone."""
