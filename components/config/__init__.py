"""A lab's settings: where they come from, what they take, which kinds and distributions there are."""
