#!/bin/bash
# upgrade-host.sh create, on a host: the staged version's packages, and a restart, as MicroShift is upgraded. Pods go on meanwhile.
# Input: settings.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"

create() {
  read_input
  satisfies "$(staged_version)" || install_wanted
  systemctl daemon-reload
  images_in
  systemctl restart --no-block "$UNIT"
  CLIENT=$(client)
  wait_for "MicroShift to start again and its API server to be ready" 420 "$UNIT" api_ready
  wait_for "the node to be Ready" 240 "$UNIT" node_ready
  step_done upgrade
}

case ${1:-} in
create) create ;;
*) die "usage: upgrade-host.sh create" ;;
esac
