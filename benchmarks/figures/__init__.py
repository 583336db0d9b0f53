"""How figures are computed from samples: pure functions."""
