#!/bin/bash
# prepare.sh, on a host: the system made ready, the community's packages installed; Red Hat's come after the subscription, with init.
# Nothing is started. Input: FLAVOUR, PACKAGE, ADDONS, TOPOLOGY.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"

read_input
prepare_os
# An installed one is the upgrade's business.
if [ "$FLAVOUR" = community ]; then
  # Packages that were corrected since replace those that never ran in a cluster.
  if [ -e "$BASE/put" ] && ! cmp -s "$BASE/list" "$BASE/put" && [ ! -e "$RUNNING" ]; then
    systemctl stop "$UNIT" crio 2>/dev/null || true
    forget_brought
  fi
  cp "$BASE/list" "$BASE/put"
  [ -n "$(installed_version)" ] || install_wanted
fi
printf '%s\n' "$TOPOLOGY" >/var/lib/litelab/microshift.topology
step_done prepare
