#!/bin/bash
# reset.sh, on a host that lives on: MicroK8s goes, with its data, its links and its rules.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../shared/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"

if command -v snap >/dev/null; then
  # --purge: else snapd first copies all data into a snapshot.
  snap_do "remove MicroK8s" 270 remove --purge microk8s
  while read -r base; do snap remove --purge "$base" >/dev/null 2>&1 || true; done < <(tac /var/lib/litelab/microk8s.bases 2>/dev/null || true)
fi
for link in vxlan.calico cni0 flannel.1 $(ip -o link show | awk -F': ' '$2 ~ /^cali/ { sub(/@.*/, "", $2); print $2 }'); do ip link del "$link" 2>/dev/null || true; done
for table in nat filter mangle raw; do
  iptables-save -t "$table" 2>/dev/null | grep -vE 'KUBE-|FLANNEL|CNI-|cali' | iptables-restore -T "$table" 2>/dev/null || true
done
restore_os
rm -rf /var/snap/microk8s /root/snap/microk8s /var/lib/litelab/microk8s* /var/lib/litelab/steps.jsonl /opt/litelab/microk8s
