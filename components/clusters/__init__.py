"""Distributions, one folder each: its component turns hosts into a cluster, by ssh alone.

A folder's ``component.py`` offers ``DISTRIBUTION``, a ``components.clusters.distribution.Distribution``; the folder's name is what
``distribution`` takes.
"""
