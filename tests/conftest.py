"""What holds of all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine makes a slow example; that says nothing of the code.
settings.register_profile("litelab", deadline=None)
settings.load_profile("litelab")
