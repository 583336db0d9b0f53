"""Port forwards to API servers that are reached through another machine."""
