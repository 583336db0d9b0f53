#!/bin/bash
# verify.sh create, on the controller: the cluster does what a workload needs. Input: NODES, the names of its nodes, with commas;
# TAINT, whether the controller runs no workloads.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../shared/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=../shared/cluster.sh
. "$(dirname "$0")/cluster.sh"
KUBE=/etc/kubernetes
export KUBECONFIG=$KUBE/admin.conf

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
  remove_strangers kube-apiserver
  kubectl label --overwrite node "$NODE" node-role.kubernetes.io/control-plane= >/dev/null
  taint_controller || die "the API server refused to change the controller's taint; its journal ends:
$(journal kube-apiserver)"
  nodes_ready kubelet
  wait_for "cluster DNS" 90 kubelet kubectl -n kube-system rollout status deployment/coredns --timeout=30s
  step_done verify
}

case ${1:-} in
create) create ;;
*) die "usage: verify.sh create" ;;
esac
