"""A busy machine makes no test wrong: examples have no deadline of their own."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
