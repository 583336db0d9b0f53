#!/usr/bin/env bash
# orphans.sh [--remove LAB...]: what libvirt labs have left in this machine's libvirt that no Pulumi state knows. Exit 0: nothing is left.
set -euo pipefail
command -v virsh >/dev/null || exit 0
exec python3 "$(dirname "$0")/orphans.py" "$@"
