"""Hosts that are systemd-nspawn containers of this machine."""
