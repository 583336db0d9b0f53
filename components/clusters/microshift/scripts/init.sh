#!/bin/bash
# init.sh create, on the first host: MicroShift runs under the lab's name and address, and its API server is ready.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"

create() {
  read_input
  [ -n "$(installed_version)" ] || install_wanted
  up
  mark_running
  step_done init
}

case ${1:-} in
create) create ;;
*) die "usage: init.sh create" ;;
esac
