"""MicroShift."""
