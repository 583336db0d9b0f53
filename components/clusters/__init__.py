"""Distributions, one module each: it turns hosts into a cluster, by ssh alone.

A module offers ``DISTRIBUTION``, a ``components.contract.Distribution``; its name is what ``distribution`` takes.
"""
