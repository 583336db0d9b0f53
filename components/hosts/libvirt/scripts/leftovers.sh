#!/usr/bin/env bash
# leftovers.sh RUN: removes what a killed 'up' made of the lab with this run folder before its state knew it.
set -euo pipefail
run=${1:?usage: leftovers.sh RUN}
# Only a libvirt lab says where its libvirt is; what destroy has removed says nothing any more.
uri=$(sed -n 's/^URI=//p' "$run/lab.env" 2>/dev/null || true)
[ -n "$uri" ] || exit 0
through=$(sed -n 's/^THROUGH=//p' "$run/lab.env")
here=$(dirname "$0")
LIBVIRT_DEFAULT_URI=$uri THROUGH=$through PYTHONPATH=$here/../../../forwarding/scripts exec python3 "$here/orphans.py" --of "$run" </dev/null
