#!/bin/bash
# upgrade-host.sh create, on a host: the staged version takes the place of the running one, as docs.k0sproject.io (upgrade) says:
# stop, replace the binary, start. Pods run on meanwhile.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"

# runs_as_staged: k0s's own word; its node may look Ready for a while without it.
runs_as_staged() {
  local says
  says=$("$K0S" status -o json) || return
  says=$(printf '%s\n' "$says" | awk -F'"' '$2 == "Version" { print $4; exit }')
  echo "k0s says that it runs as ${says:-nothing}"
  [ "$says" = "$(staged_version)" ]
}

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
    wait_for "k0s to run as $(staged_version)" 180 "$unit" runs_as_staged
    mark_running
  fi
  step_done upgrade
}

case ${1:-} in
create) create ;;
*) die "usage: upgrade-host.sh create" ;;
esac
