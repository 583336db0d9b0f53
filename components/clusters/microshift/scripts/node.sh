#!/bin/bash
# node.sh state|create, on a further host. In a fleet it becomes a cluster of its own and prints that one's kubeconfig. In a multinode
# lab, which MicroShift does not support, it joins the first one's datastore and control plane. Input: settings, ---, and what token.sh
# printed: the first one's kubeconfig in base64.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/cluster.sh
. "$(dirname "$0")/cluster.sh"
JOINED=/var/lib/litelab/microshift.joined
FILE=/run/litelab/microshift-kubeconfig

# In a fleet nobody needs a token.
state() { if [ -e "$JOINED" ] || [ "$(cat /var/lib/litelab/microshift.topology 2>/dev/null)" = fleet ]; then echo joined; else echo absent; fi; }

join() {
  local last
  reach "the API server of the first host" "${CONTROLLER_ADDRESSES%%,*}" 6443 120
  systemctl stop "$UNIT" kubepods.slice 2>/dev/null || true
  (umask 077 && base64 -d >"$FILE" <<<"$1")
  last=$(timeout -k 5 660 microshift add-node "--kubeconfig=$FILE" --learner=false --timeout=10m 2>&1 </dev/null) ||
    die "'microshift add-node' failed: $(one_line "$last"). Run the same command again."
  rm -f "$FILE"
}

create() {
  local token
  read_input
  token=$(cat)
  [ -n "$(installed_version)" ] || install_wanted
  if [ "$TOPOLOGY" = multinode ] && [ "$(state)" != joined ]; then
    configure || true
    systemctl enable -q crio "$UNIT"
    start_unit crio 120
    join "$token"
    : >"$JOINED"
  fi
  up
  wait_for "the node to be Ready" 240 "$UNIT" node_ready
  if [ "$TOPOLOGY" = fleet ]; then
    NODES=$NODE
    nodes_ready "$UNIT"
    dns_ready
  fi
  mark_running
  step_done node
  if [ "$TOPOLOGY" = fleet ]; then cat "$KUBEADMIN/$ADDRESS/kubeconfig"; fi
}

case ${1:-} in
state | create) "$1" ;;
*) die "usage: node.sh state|create" ;;
esac
