"""What is downloaded: pinned releases, artifacts and images."""
