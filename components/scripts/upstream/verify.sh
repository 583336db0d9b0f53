#!/bin/bash
# verify.sh create, on the controller: the cluster does what a workload needs. Input: NODES, how many must be Ready.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=step.sh
. "$(dirname "$0")/step.sh"
export KUBECONFIG=$KUBE/admin.conf

nodes_ready() {
  local ready
  ready=$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)
  echo "$ready of ${NODES:?} nodes are Ready"
  [ "$ready" -eq "$NODES" ]
}

create() {
  read_input
  kubectl label --overwrite node "$NODE" node-role.kubernetes.io/control-plane= >/dev/null
  wait_for "all nodes to be Ready" 60 kubelet nodes_ready
  wait_for "cluster DNS" 90 kubelet kubectl -n kube-system rollout status deployment/coredns --timeout=30s
  step_done verify
}

case ${1:-} in
create) create ;;
*) die "usage: verify.sh create" ;;
esac
