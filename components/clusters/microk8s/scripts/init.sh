#!/bin/bash
# init.sh create, on the first controller: its MicroK8s is up, under the lab's address, and asks who may do what.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"

create() {
  read_input
  use_address
  wait_ready
  wait_for "the API server to be ready" 90 "$UNIT" kubectl get --raw '/readyz?verbose=false'
  if [ "$ADDONS" = minimal ] && ! grep -qE -- '^--authorization-mode=.*RBAC' "$DATA/args/kube-apiserver"; then
    die "MicroK8s was installed without RBAC, though addons is minimal: another launch configuration came first. Remove /etc/microk8s.yaml and /root/snap/microk8s/common/.microk8s.yaml on the host, and 'pulumi up --replace' its stage step."
  fi
  mark_running
  step_done init
}

case ${1:-} in
create) create ;;
*) die "usage: init.sh create" ;;
esac
