#!/bin/bash
# verify.sh create, on the first controller: the cluster does what a workload needs. Input: NODES, the names of its nodes, with commas;
# TAINT, whether controllers run no workloads; of several controllers their names, CONTROLLERS, with commas.
# verify.sh node HOST VERSION: that node is Ready and runs that version.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/cluster.sh
. "$(dirname "$0")/cluster.sh"
KUBE=/etc/kubernetes
export KUBECONFIG=$KUBE/admin.conf

# A kubelet taints its node at its first registration alone; the setting may have changed since.
taint_controller() { # taint_controller NODE
  local key=node-role.kubernetes.io/control-plane
  if [ "${TAINT:?}" = true ]; then
    kubectl taint --overwrite node "$1" "$key=:NoSchedule" >/dev/null
  elif [ -n "$(kubectl get node "$1" -o jsonpath="{.spec.taints[?(@.key==\"$key\")].key}")" ]; then
    kubectl taint node "$1" "$key-" >/dev/null
  fi
}

create() {
  local controller
  CONTROLLERS=$NODE
  read_input
  remove_strangers kube-apiserver
  for controller in ${CONTROLLERS//,/ }; do
    kubectl label --overwrite node "$controller" node-role.kubernetes.io/control-plane= >/dev/null
    taint_controller "$controller" || die "the API server refused to change the taint of $controller; its journal ends:
$(journal kube-apiserver)"
  done
  nodes_ready kubelet
  wait_for "cluster DNS" 90 kubelet kubectl -n kube-system rollout status deployment/coredns --timeout=30s
  step_done verify
}

case ${1:-} in
create) create ;;
node) node_runs kube-apiserver "$2" "$3" ;;
*) die "usage: verify.sh create|node HOST VERSION" ;;
esac
