#!/usr/bin/env python3
"""``subscribe.py PULL_SECRET_FILE registered|unregistered``, on RHEL, by the system's Python: registers by activation key, writes the pull secret.

Standard input: ``{"organization", "activationKey", "pullSecret"}``. Registration goes over the private D-Bus socket of
subscription-manager's service, as Ansible's module does it: no argument of any process has the key. Errors never show what was read.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

TIMEOUT_S = 180
MANAGER = "com.redhat.RHSM1.RegisterServer"


def register(organization: str, key: str) -> None:
    """Register this system.

    Raises:
        Exception: what D-Bus says.
    """
    dbus = importlib.import_module("dbus")
    service = dbus.SystemBus().get_object("com.redhat.RHSM1", "/com/redhat/RHSM1/RegisterServer")
    address = service.Start("", dbus_interface=MANAGER)
    try:
        dbus.connection.Connection(address).call_blocking(
            "com.redhat.RHSM1",
            "/com/redhat/RHSM1/Register",
            "com.redhat.RHSM1.Register",
            "RegisterWithActivationKeys",
            "sasa{sv}a{sv}s",
            (organization, [key], {}, {}, ""),
            timeout=TIMEOUT_S,
        )
    finally:
        service.Stop("", dbus_interface=MANAGER)


def write_secret(path: str, text: str) -> None:
    """Whole, and readable by root alone from the first byte on."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
    new.replace(target)


def main(arguments: list[str]) -> int:
    """Run it; 1 and one line when it can't be done."""
    try:
        secrets = json.loads(sys.stdin.read())
        organization, key, pull = secrets["organization"], secrets["activationKey"], secrets["pullSecret"]
        json.loads(pull)["auths"]
    except (ValueError, KeyError, TypeError):
        print("the secrets are not what is expected: a pull secret is JSON with 'auths'", file=sys.stderr)
        return 1
    if arguments[1] != "registered":
        try:
            register(organization, key)
        except Exception as error:  # D-Bus has errors of its own, from a module that is there on RHEL alone
            text = str(error) or type(error).__name__
            for secret in (key, organization):
                text = text.replace(secret, "[secret]")
            print(text, file=sys.stderr)
            return 1
    write_secret(arguments[0], pull)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
