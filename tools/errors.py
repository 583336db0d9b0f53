"""What set-up says to the person who called it."""

from __future__ import annotations


class SetupError(Exception):
    """Set-up can't go on; the message is one paragraph: what, where, why, the fix."""
