"""What a guest is told at its first boot, by cloud-init: its keys, names and addresses, and no more than a lab needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import yaml

from components.hosts.libvirt.settings import LibvirtSettings

FIRST_ADDRESS = 10
"""host-N has the address PREFIX.(FIRST_ADDRESS + N)."""
MOST_HOSTS = 115
"""What a guest knows by name, whether there are as many or not."""
PATIENCE = {"kvm": 1, "tcg": 8}
"""How many times longer than on hardware a step on a host may take."""
SYSTEMD = "/etc/systemd/system.conf.d/litelab.conf"


def mac(lab: str, host: str) -> str:
    """A host's hardware address, below QEMU's own prefix, in capitals as libvirt's provider gives it back."""
    last = hashlib.sha256(f"{lab} {host}".encode()).digest()[:3]
    return ":".join(f"{byte:02X}" for byte in (0x52, 0x54, 0x00, *last))


def seed(
    where: Mapping[str, str],
    client: Mapping[str, str],
    pair: Mapping[str, str],
    number: int,
    host: str,
    args: LibvirtSettings,
) -> dict[str, str]:
    """What cloud-init reads at the first boot: ``user``, ``meta`` and ``network``."""
    prefix = where["prefix"]
    # All that the subnet has room for: a host more changes no other host.
    names = "".join(f"{prefix}.{FIRST_ADDRESS + n} host-{n}\n" for n in range(1, MOST_HOSTS + 1))
    limits = f"DefaultTimeoutStopSec=10s\\nDefaultTimeoutStartSec={90 * PATIENCE[args.accelerator]}s\\n"
    user = {
        "disable_root": False,
        "users": [{"name": "root", "ssh_authorized_keys": [client["public"]]}],
        "ssh_authorized_keys": [client["public"]],
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": pair["private"], "ed25519_public": pair["public"]},
        "manage_etc_hosts": False,
        "locale": False,
        "package_update": False,
        "write_files": [
            {"path": "/etc/hosts", "content": f"127.0.0.1 localhost\n{names}"},
            # cloud-init's own module for it restarts sshd, which waits for cloud-init.
            {
                "path": "/etc/ssh/sshd_config.d/00-litelab.conf",
                "content": "PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            },
            {"path": "/etc/litelab/patience", "content": f"{PATIENCE[args.accelerator]}\n"},
        ],
        "bootcmd": [
            # Not loopback: distributions replace such a resolver by a public one.
            ["sh", "-c", f"rm -f /etc/resolv.conf; echo nameserver {prefix}.1 >/etc/resolv.conf"],
            [
                "sh",
                "-c",
                f"mkdir -p /etc/systemd/system.conf.d; printf '[Manager]\\n{limits}' >{SYSTEMD}; systemctl daemon-reexec",
            ],
        ],
        # Only what a lab needs: an emulated guest spends most of its boot in the rest.
        "cloud_init_modules": ["bootcmd", "write_files", "growpart", "resizefs", "set_hostname", "users-groups", "ssh"],
        "cloud_config_modules": [],
        "cloud_final_modules": [],
    }
    # In the form that cloud-init 22.4 takes: its routes know no "default".
    network = {
        "version": 2,
        "ethernets": {
            "lab": {
                "match": {"macaddress": mac(where["id"], host).lower()},
                "addresses": [f"{prefix}.{FIRST_ADDRESS + number}/24"],
                "gateway4": f"{prefix}.1",
                "nameservers": {"addresses": [f"{prefix}.1"]},
            }
        },
    }
    text = "#cloud-config\n" + yaml.safe_dump(user, sort_keys=False, width=4096)
    return {
        "user": text,
        "meta": yaml.safe_dump({"instance-id": f"{where['id']}-{host}", "local-hostname": host}),
        "network": yaml.safe_dump(network),
    }
