"""Whether KVM starts a guest here: /dev/kvm can exist and start nothing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

# Prints K on the first serial port, then halts.
BOOT_SECTOR = bytes([0xBA, 0xF8, 0x03, 0xB0, 0x4B, 0xEE, 0xB0, 0x0A, 0xEE, 0xF4]).ljust(510, b"\0") + b"\x55\xaa"
TRIAL_S = 8.0


def starts_a_guest() -> tuple[bool, str]:
    """Start one of 512 bytes under KVM; whether its serial port spoke, and what was found."""
    qemu = shutil.which("qemu-system-x86_64")
    if not Path("/dev/kvm").exists():
        return False, "no /dev/kvm"
    if qemu is None:
        return False, "/dev/kvm is there; qemu is not installed, so no guest was started"
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder, "boot")
        disk.write_bytes(BOOT_SECTOR)
        command = [qemu, "-accel", "kvm", "-m", "16", "-display", "none", "-serial", "stdio", "-monitor", "none"]
        command += ["-drive", f"file={disk},format=raw", "-net", "none"]
        try:
            said = subprocess.run(command, capture_output=True, check=False, timeout=TRIAL_S, stdin=subprocess.DEVNULL)
            out, errors = said.stdout, said.stderr
        except subprocess.TimeoutExpired as slow:
            out, errors = slow.stdout or b"", slow.stderr or b""
    if b"K" in out:
        return True, "a guest starts"
    why = " ".join(errors.decode(errors="replace").split())[-160:] or f"it printed nothing in {TRIAL_S:.0f} s"
    return False, f"a guest did not start: {why}"
