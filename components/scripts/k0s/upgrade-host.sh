#!/bin/bash
# upgrade-host.sh create, on a host: the staged version takes the place of the running one, as docs.k0sproject.io (upgrade) says:
# stop, replace the binary, start. Pods run on meanwhile.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"

create() {
  local unit
  read_input
  unit=$(unit)
  put_images
  if [ "$(cat "$RUNNING" 2>/dev/null)" != "$(staged_version)" ] || ! cmp -s "$(artifact k0s)" "$K0S"; then
    systemctl stop "$unit"
    put_program k0s "$K0S"
    configure_containerd
    if [ "$unit" = k0scontroller ]; then start_controller; else start_unit "$unit" 60; fi
    mark_running
  fi
  step_done upgrade
}

case ${1:-} in
create) create ;;
*) die "usage: upgrade-host.sh create" ;;
esac
