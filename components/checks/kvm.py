"""Whether KVM starts a guest here: /dev/kvm can exist and start nothing, or run a boot sector and hang a kernel."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import select
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

DEVICE = Path("/dev/kvm")
# kvm.S, assembled: goes into long mode with paging, as a kernel does, and prints K on the first serial port.
PROGRAM = bytes.fromhex(
    "fa31c08ed88ec066bf001000000f22df6631c066b9000c0000fc66f3ab66c70600100320000066c70600200330000066c706"
    "0030830000000f20e06683c8200f22e066b9800000c00f32660d000100000f300f20c0660d010000800f22c0660f0116a87c"
    "ea697c080031c00fa283f8077214b80700000031c90fa20fbae3087305c4e271f7c366baf803b04beeb00aeef4ebfd0f1f44"
    "0000000000000000000000000000009a20000f00987c0000"
)
BOOT_SECTOR = PROGRAM.ljust(510, b"\0") + b"\x55\xaa"
TRIAL_S = 6.0
PROCESSORS = {"kvm": "host", "tcg": "max"}
"""What guests of a lab get too."""


def forbidden() -> tuple[str, str] | None:
    """That this user may not open a device that is there, and the command that fixes it; None when nothing forbids it."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError as error:
        device = DEVICE.stat()
        return f"{DEVICE} is there and may not be opened: {error.strerror}", fix(error, device.st_mode, device.st_gid)
    except OSError:
        # There is none, or no module behind it: the trial says that.
        return None
    return None


def fix(error: PermissionError, mode: int, gid: int) -> str:
    """The command that lets this user open the device, which has that mode and group."""
    if error.errno == errno.EPERM:
        # Not its mode: the rules for devices of a container, which hold for root too.
        return f"start this container with the device, such as 'docker run --device {DEVICE}'"
    user = shlex.quote(_name_of_user())
    join = f"sudo usermod -aG {{}} {user}, and log in again"
    both = stat.S_IRGRP | stat.S_IWGRP
    if gid == 0 or mode & both != both:
        return (
            f"sudo groupadd -f kvm && sudo chown root:kvm {DEVICE} && sudo chmod 660 {DEVICE} && {join.format('kvm')}"
        )
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return f"sudo groupadd -g {gid} kvm && {join.format('kvm')}"
    if _name_of_user() in group.gr_mem:
        return f"log in again, or newgrp {group.gr_name}: this shell is older than the membership in {group.gr_name}"
    return join.format(group.gr_name)


def _name_of_user() -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return str(os.geteuid())


def starts_a_guest(accelerator: str = "kvm") -> tuple[bool, str]:
    """Start a guest of 512 bytes; whether its serial port spoke, and what was found."""
    qemu = shutil.which("qemu-system-x86_64")
    if accelerator == "kvm" and not DEVICE.exists():
        return False, "no /dev/kvm"
    if qemu is None:
        return False, "qemu is not installed, so no guest was started"
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder, "boot")
        disk.write_bytes(BOOT_SECTOR)
        command = [qemu, "-accel", accelerator, "-cpu", PROCESSORS[accelerator], "-m", "16", "-display", "none"]
        command += ["-serial", "stdio", "-monitor", "none", "-drive", f"file={disk},format=raw", "-net", "none"]
        with (Path(folder) / "errors").open("w+b") as errors:
            spoke = _speaks(command, errors.fileno())
            errors.seek(0)
            # The first line says what; an assertion's text may follow.
            why = errors.read().decode(errors="replace").strip().partition("\n")[0].strip()[:160]
    if spoke:
        return True, "a guest starts"
    return (
        False,
        f"a guest did not start: {why or f'it printed nothing in {TRIAL_S:.0f} s (on a busy machine, try again)'}",
    )


def _speaks(command: list[str], errors: int) -> bool:
    """Whether a program prints a K before it ends or the time is up; it is ended then."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process:
        assert process.stdout
        deadline = time.monotonic() + TRIAL_S
        try:
            while time.monotonic() < deadline:
                if select.select([process.stdout], [], [], 0.1)[0]:
                    said = os.read(process.stdout.fileno(), 4096)
                    if b"K" in said or not said:
                        return b"K" in said
                # QEMU halts such a guest and stays.
                if b"internal error" in os.pread(errors, 4096, 0):
                    return False
            return False
        finally:
            process.kill()
