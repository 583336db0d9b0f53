#!/bin/bash
# verify.sh create, on the first host: every node Ready, DNS up. Prints the kubeconfig that MicroShift wrote for the host's address.
# verify.sh node HOST VERSION: that node is Ready, after an upgrade.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/cluster.sh
. "$(dirname "$0")/cluster.sh"
CLIENT=$(client)

create() {
  read_input
  nodes_ready "$UNIT"
  dns_ready
  step_done verify >&2
  [ -r "$KUBEADMIN/$ADDRESS/kubeconfig" ] || die "MicroShift wrote no kubeconfig for $ADDRESS. It has some for $(find "$KUBEADMIN" -mindepth 1 -maxdepth 1 -type d -printf '%f ')."
  cat "$KUBEADMIN/$ADDRESS/kubeconfig"
}

# In a fleet, a further host is no node of this cluster, and its upgrade has seen it Ready in its own.
of_this_cluster() { [ "$1" = "$NODE" ] || [ "$(cat /var/lib/litelab/microshift.topology 2>/dev/null)" != fleet ]; }
ready() { kubectl wait --for=condition=Ready "node/$1" --timeout=20s; }

case ${1:-} in
create) create ;;
node) ! of_this_cluster "$2" || wait_for "$2 to be Ready with $3" 300 "$UNIT" ready "$2" ;;
*) die "usage: verify.sh create|node HOST VERSION" ;;
esac
