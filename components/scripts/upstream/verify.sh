#!/bin/bash
# verify.sh create, on the controller: the cluster does what a workload needs. Input: NODES, how many must be Ready; TAINT,
# whether the controller runs no workloads.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../shared/step.sh
. "$(dirname "$0")/step.sh"
KUBE=/etc/kubernetes
export KUBECONFIG=$KUBE/admin.conf

nodes_ready() {
  local ready
  ready=$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)
  echo "$ready of ${NODES:?} nodes are Ready"
  [ "$ready" -eq "$NODES" ]
}

# A node that is Ready still repels pods until the controller manager has seen it.
nodes_open() {
  local taints
  taints=$(kubectl get nodes -o jsonpath='{.items[*].spec.taints[*].key}')
  echo "the nodes' taints are: $taints"
  [[ $taints != *node.kubernetes.io/* ]]
}

# A kubelet taints its node at its first registration alone; the setting may have changed since.
taint_controller() {
  local key=node-role.kubernetes.io/control-plane
  if [ "${TAINT:?}" = true ]; then
    kubectl taint --overwrite node "$NODE" "$key=:NoSchedule" >/dev/null
  elif [ -n "$(kubectl get node "$NODE" -o jsonpath="{.spec.taints[?(@.key==\"$key\")].key}")" ]; then
    kubectl taint node "$NODE" "$key-" >/dev/null
  fi
}

create() {
  read_input
  kubectl label --overwrite node "$NODE" node-role.kubernetes.io/control-plane= >/dev/null
  taint_controller || die "the API server refused to change the controller's taint; its journal ends:
$(journal kube-apiserver)"
  wait_for "all nodes to be Ready" 60 kubelet nodes_ready
  wait_for "all nodes to take pods" 60 kube-controller-manager nodes_open
  wait_for "cluster DNS" 90 kubelet kubectl -n kube-system rollout status deployment/coredns --timeout=30s
  step_done verify
}

case ${1:-} in
create) create ;;
*) die "usage: verify.sh create" ;;
esac
