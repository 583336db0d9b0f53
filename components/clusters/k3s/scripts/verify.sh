#!/bin/bash
# verify.sh create, on the first controller: every node Ready and as it must be, DNS up. Prints the administrator's kubeconfig.
# verify.sh node HOST VERSION: that node is Ready and runs that version.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k3s.sh
. "$(dirname "$0")/k3s.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/cluster.sh
. "$(dirname "$0")/cluster.sh"

create() {
  read_input
  remove_strangers k3s
  follow_taint node-role.kubernetes.io/control-plane true
  nodes_ready k3s
  wait_for "cluster DNS" 120 k3s kubectl -n kube-system rollout status deployment/coredns --timeout=20s
  step_done verify >&2
  cat /etc/rancher/k3s/k3s.yaml
}

case ${1:-} in
create) create ;;
node) node_runs k3s "$2" "$3" ;;
*) die "usage: verify.sh create|node HOST VERSION" ;;
esac
