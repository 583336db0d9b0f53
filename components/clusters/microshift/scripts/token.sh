#!/bin/bash
# token.sh create|delete HOST ROLE STATE, on the first host: what lets a host join. That is the administrator's kubeconfig for the first
# host's address, for MicroShift has nothing lesser; one line of base64, or "none" for a host that has joined.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"

create() {
  local address
  if [ "$1" = joined ]; then
    echo none
    return
  fi
  address=$(awk '$1 == "nodeIP:" { print $2 }' "$CONFIG")
  [ -r "$KUBEADMIN/$address/kubeconfig" ] || die "MicroShift wrote no kubeconfig for its address $address. $UNIT is $(systemctl is-active "$UNIT"); its journal ends:
$(journal "$UNIT")"
  base64 -w0 <"$KUBEADMIN/$address/kubeconfig"
  echo
}

case ${1:-} in
create) create "${4:-}" ;;
delete) ;;
*) die "usage: token.sh create|delete HOST ROLE STATE" ;;
esac
