#!/bin/bash
# reset.sh, on a host that lives on: MicroShift goes with its pods and data by its own clean-up, then its packages and configuration.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../shared/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"

if command -v microshift-cleanup-data >/dev/null; then
  last=$(echo 1 | timeout -k 5 200 microshift-cleanup-data --all 2>&1) || say "host $NODE: microshift-cleanup-data: $(one_line "$last")"
fi
systemctl disable -q --now "$UNIT" 2>/dev/null || true
if command -v dnf >/dev/null; then
  packages "remove MicroShift's packages" 200 dnf remove -y 'microshift*'
elif command -v apt-get >/dev/null && dpkg -l 'microshift*' 2>/dev/null | grep -q '^ii'; then
  packages "remove MicroShift's packages" 200 apt-get -o DPkg::Lock::Timeout=120 purge -y -q 'microshift*'
fi
systemctl disable -q --now crio 2>/dev/null || true
for table in nat filter mangle; do
  iptables-save -t "$table" 2>/dev/null | grep -vE 'KUBE-|FLANNEL|CNI-|KIND-' | iptables-restore -T "$table" 2>/dev/null || true
done
restore_os
rm -rf /etc/microshift /var/lib/microshift /var/lib/litelab/microshift* /var/lib/litelab/steps.jsonl /etc/apt/sources.list.d/litelab-cri-o.list \
  /etc/apt/keyrings/litelab-cri-o.asc /opt/litelab/microshift
