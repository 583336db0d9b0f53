#!/bin/bash
# init.sh create, on the first controller: K3s's server, until its API is ready. Its token never leaves the host but to join
# further servers. Input: the lab's settings.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k3s.sh
. "$(dirname "$0")/k3s.sh"
FIRST=true

create() {
  read_input
  configure server
  install_unit server
  start k3s 240
  wait_for "the API server to be ready" 120 k3s kubectl get --raw '/readyz?verbose=false'
  mark_running
  step_done init
}

case ${1:-} in
create) create ;;
*) die "usage: init.sh create" ;;
esac
