#!/bin/bash
# prepare.sh, on a host: MicroK8s' snap, from the store or from staged files, with the lab's launch configuration and images; its
# refreshes are held. It starts as a cluster of one node. A snap that is part of a cluster is left as it is: only an upgrade changes it.
# Input: ADDONS, RISK.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"

need_snapd() {
  command -v snap >/dev/null ||
    die "snapd is not here, and MicroK8s comes as a snap alone. Use hosts whose system has it (Ubuntu), or install it there ('apt-get install snapd')."
  snap_do "finish its own start" 180 wait system seed.loaded
}

read_input
need_snapd
prepare_os
if ! has_snap microk8s; then
  cp "$BASE/list" "$BASE/put"
  install_fresh
elif [ -e "$BASE/put" ] && ! cmp -s "$BASE/list" "$BASE/put" && [ ! -e "$RUNNING" ]; then
  # Corrected since; what it replaces may be broken.
  cp "$BASE/list" "$BASE/put"
  install_again
fi
"${BASH_SOURCE%/*}/mirrors.sh"
step_done prepare
