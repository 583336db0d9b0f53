#!/bin/bash
# node.sh state|create, on a host that joins: K3s's agent, or a further server, until its node is Ready.
# Input of create: the lab's settings, then the token.
# node.sh retoken: a server restarts with another token, from standard input.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k3s.sh
. "$(dirname "$0")/k3s.sh"
FIRST=false
TOKEN=/etc/rancher/k3s/token

state() { if [ -e "$RUNNING" ]; then echo joined; else echo new; fi; }

node_ready() {
  case ${ROLE:?} in
  worker) "$K3S" kubectl --kubeconfig="$DATA/agent/kubelet.kubeconfig" wait --for=condition=Ready "node/$NODE" --timeout=10s ;;
  controller) [ "$AGENTLESS" = true ] || kubectl wait --for=condition=Ready "node/$NODE" --timeout=10s ;;
  esac
}

create() {
  local token kind=agent
  read_input
  IFS= read -r token
  # Staged anew since the host was prepared, perhaps.
  put_staged k3s "$K3S"
  [ "$ROLE" = worker ] || kind=server
  reach "the first controller's API" "${CONTROLLER_ADDRESSES%%,*}" 6443 60
  configure "$kind"
  [ "$token" = none ] || (umask 077 && printf '%s\n' "$token" >"$TOKEN")
  install_unit "$kind"
  start "$(unit)" 240
  [ "$kind" = agent ] || wait_for "this server's API to be ready" 120 k3s kubectl get --raw '/readyz?verbose=false'
  wait_for "the node to be Ready" 120 "$(unit)" node_ready
  mark_running
  step_done node
}

retoken() {
  local token
  IFS= read -r token
  (umask 077 && printf '%s\n' "$token" >"$TOKEN")
  start k3s 240
  wait_for "this server's API to be ready" 120 k3s kubectl get --raw '/readyz?verbose=false'
}

case ${1:-} in
state | create | retoken) "$1" ;;
*) die "usage: node.sh state|create|retoken" ;;
esac
