#!/bin/bash
# node.sh state|create, on a host that joins. state: whether it has (joined, half, absent), and its node's name. create: joins, and waits until the API
# server reports the node Ready. Input: settings, ---, TOKEN/CHECK.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"
JOINED=/var/lib/litelab/microk8s.joined

state() {
  if [ -e "$DATA/var/lock/join-in-progress" ]; then
    echo "half $NODE_NAME"
  elif [ -e "$JOINED" ]; then
    echo joined
  else
    echo "absent $NODE_NAME"
  fi
}

join() {
  local first=${CONTROLLER_ADDRESSES%%,*} token=$1 last code=0
  local words=("$first:$AGENT_PORT/$token")
  [ "$ROLE" != worker ] || words+=(--worker)
  reach "the cluster agent of the first controller" "$first" "$AGENT_PORT" 120
  # The command takes its token as an argument alone; it is good for this join only.
  last=$(timeout -k 5 300 "$MICROK8S" join "${words[@]}" 2>&1 </dev/null) || code=$?
  last=$(one_line "${last//${token%%/*}/TOKEN}")
  case $code in
  0) ;;
  124) die "'microk8s join' had not ended after 300 s. Its last words: $last $UNIT is $(systemctl is-active "$UNIT"), and its journal ends:
$(journal "$UNIT")
Run the same command again; it begins this host's MicroK8s anew." ;;
  4) die "'microk8s join' refused the first controller, whose certificate is not the one that its token names: $last Is another machine at $first?" ;;
  6) die "the cluster refused this host: $last An 'invalid token' was used before, or invalidated; run the same command again, which makes a new one." ;;
  *) die "'microk8s join' failed with exit code $code: $last Run the same command again; it begins this host's MicroK8s anew." ;;
  esac
}

node_ready() { own_kubectl wait --for=condition=Ready "node/$NODE_NAME" --timeout=20s; }

create() {
  local token now
  read_input
  token=$(cat)
  now=$(state)
  now=${now%% *}
  if [ "$now" != joined ]; then
    # It is neither a node of its own nor one of the cluster.
    [ "$now" != half ] || install_again
    wait_ready
    [ "$token" != none ] || die "the first controller made no token, for it took this host for joined. Run the same command again."
    use_address
    join "$token"
    : >"$JOINED"
    # A join brings the first controller's arguments.
    use_address
  fi
  wait_for "the node to be Ready" 240 "$UNIT" node_ready
  mark_running
  step_done node
}

# Only reading the state takes no input.
case ${1:-} in
state | create) "$1" ;;
*) die "usage: node.sh state|create" ;;
esac
