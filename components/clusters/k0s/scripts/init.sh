#!/bin/bash
# init.sh create, on the first controller: k0s, until its API is ready. Input: the lab's settings.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"

create() {
  local flags
  read_input
  configure
  configure_containerd
  mapfile -t flags < <(controller_flags)
  install_unit controller "--config=$CONFIG" "${flags[@]}"
  start_controller
  mark_running
  step_done init
}

case ${1:-} in
create) create ;;
*) die "usage: init.sh create" ;;
esac
