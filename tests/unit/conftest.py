"""Property tests are held to what they find, not to a time for each example: machines are busy with other things."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
