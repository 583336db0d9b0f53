"""Steps: scripts as command resources."""
