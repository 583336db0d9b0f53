"""Virtual machines through libvirt."""
