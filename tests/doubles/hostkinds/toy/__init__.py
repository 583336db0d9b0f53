"""A toy host kind."""
