"""Hosts that are there already, reached by ssh."""
