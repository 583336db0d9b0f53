#!/bin/bash
# upgrade-host.sh create, on a host: the staged version takes the place of the running one, as docs.k3s.io (manual upgrade)
# says: the binary replaced, the unit restarted. Pods run on meanwhile.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k3s.sh
. "$(dirname "$0")/k3s.sh"

create() {
  local unit image
  read_input
  unit=$(unit)
  put_images
  if [ -S /run/k3s/containerd/containerd.sock ]; then
    for image in "$BASE"/images/*.tar; do
      "$K3S" ctr images import "$image" >/dev/null || die "containerd refused the image $(basename "$image"); the journal of $unit ends:
$(journal "$unit")"
    done
  fi
  if [ "$(cat "$RUNNING" 2>/dev/null)" != "$(staged_version)" ] || ! cmp -s "$(artifact k3s)" "$K3S"; then
    # Until it runs, it is what it was: a step that is cut off here is taken up here.
    put_program k3s "$K3S"
    start "$unit" 300
    [ "$unit" = k3s-agent ] || wait_for "the API server to be ready" 120 k3s kubectl get --raw '/readyz?verbose=false'
    mark_running
  fi
  step_done upgrade
}

case ${1:-} in
create) create ;;
*) die "usage: upgrade-host.sh create" ;;
esac
