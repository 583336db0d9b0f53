#!/bin/bash
# reset.sh, on an existing host: MicroK8s goes, with its data, its links and its rules.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/own.sh
. "$(dirname "$0")/own.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/names.sh
. "$(dirname "$0")/names.sh"

if command -v snap >/dev/null; then
  # --purge: else snapd first copies all data into a snapshot.
  snap_do "remove MicroK8s" 270 remove --purge microk8s
  # What it stands on came with it; what another snap needs snapd keeps.
  for base in core22 snapd; do
    grep -qs "^snap $base " "$BEFORE" || ! has_snap "$base" || snap remove --purge "$base" >/dev/null 2>&1 || true
  done
fi
mapfile -t links < <(ip -o link show | awk -F': ' '$2 ~ /^cali/ { sub(/@.*/, "", $2); print $2 }')
remove_links vxlan.calico cni0 flannel.1 "${links[@]}"
unmount_new /run/netns
remove_namespaces
remove_rules 'KUBE-|FLANNEL|CNI-|cali' nat filter mangle raw
forget_names
restore_os
remove /var/snap/microk8s /root/snap/microk8s /var/lib/kubelet /var/lib/containerd /var/lib/calico /var/lib/cni /run/containerd /run/flannel /var/log/pods /var/log/containers
remove_empty /opt/containerd /usr/libexec/kubernetes
rmdir /root/snap 2>/dev/null || true
rm -rf /var/lib/litelab/microk8s* /var/lib/litelab/steps.jsonl /opt/litelab/microk8s
