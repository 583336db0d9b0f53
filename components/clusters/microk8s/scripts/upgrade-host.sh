#!/bin/bash
# upgrade-host.sh create, on a host: its snap to the staged version, as snapd does it. Pods go on: their processes are not the daemons'.
# Input: settings.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"

create() {
  read_input
  allow_cgroup_v1
  satisfies "$(staged_version)" || install_wanted
  # A worker has no API server to ask.
  [ -e "$DATA/var/lock/clustered.lock" ] || wait_ready
  step_done upgrade
}

case ${1:-} in
create) create ;;
*) die "usage: upgrade-host.sh create" ;;
esac
