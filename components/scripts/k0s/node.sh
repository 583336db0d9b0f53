#!/bin/bash
# node.sh state|create, on a host that joins: a worker, or a further controller. Input of create: the lab's settings, then the
# token; its file is overwritten when it has been used.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"
TOKEN=/etc/k0s/token

state() { if [ -e "$RUNNING" ]; then echo joined; else echo new; fi; }

node_ready() {
  "$K0S" kubectl --kubeconfig="$DATA/kubelet.conf" wait --for=condition=Ready "node/$NODE" --timeout=10s
}

create() {
  local token flags first
  read_input
  IFS= read -r token
  # Staged anew since the host was prepared, perhaps.
  [ -e "$RUNNING" ] || put_program
  put_images
  first=${CONTROLLER_ADDRESSES%%,*}
  reach "the first controller's API" "$first" 6443 60
  mkdir -p "$(dirname "$TOKEN")"
  [ "$token" = none ] || (umask 077 && printf '%s\n' "$token" >"$TOKEN")
  configure_containerd
  if [ "${ROLE:?}" = worker ]; then
    mapfile -t flags < <(worker_flags)
    install_unit worker "--token-file=$TOKEN" "${flags[@]}"
    start_unit k0sworker 60
    wait_for "the node to be Ready" 240 k0sworker node_ready
  else
    reach "the first controller's join API" "$first" 9443 60
    configure
    mapfile -t flags < <(controller_flags)
    install_unit controller "--config=$CONFIG" "--token-file=$TOKEN" "${flags[@]}"
    start_controller
  fi
  echo '# used' >"$TOKEN"
  mark_running
  step_done node
}

case ${1:-} in
state | create) "$1" ;;
*) die "usage: node.sh state|create" ;;
esac
