#!/bin/bash
# verify.sh create, on the first controller: every node Ready and as it must be, network and DNS up. Prints the administrator's kubeconfig.
# verify.sh node HOST VERSION: that node, if the host is one, is Ready and runs that version.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/cluster.sh
. "$(dirname "$0")/cluster.sh"

create() {
  read_input
  remove_strangers k0scontroller
  nodes_ready k0scontroller
  wait_for "cluster DNS" 180 k0scontroller kubectl -n kube-system rollout status deployment/coredns --timeout=20s
  step_done verify >&2
  cat "$DATA/pki/admin.conf"
}

case ${1:-} in
create) create ;;
node) node_runs k0scontroller "$2" "$3" ;;
*) die "usage: verify.sh create|node HOST VERSION" ;;
esac
