#!/bin/bash
# reset.sh, on a host that lives on: K3s and all that it made go, by its own uninstaller where there is one.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k3s.sh
. "$(dirname "$0")/k3s.sh"

for script in k3s-uninstall.sh k3s-agent-uninstall.sh; do
  [ ! -x "/usr/local/bin/$script" ] || timeout -k 5 200 "/usr/local/bin/$script" >/dev/null 2>&1 || say "$script ended with an error; what it left is removed one by one"
done
systemctl disable -q --now k3s k3s-agent 2>/dev/null || true
rm -f /etc/systemd/system/k3s.service* /etc/systemd/system/k3s-agent.service* /usr/local/bin/k3s /usr/local/bin/k3s-*.sh
systemctl daemon-reload
rm -rf /etc/rancher /var/lib/rancher/k3s /run/k3s /run/flannel /var/lib/cni /etc/cni /var/log/pods /var/log/containers
find /var/lib/kubelet -mindepth 1 -delete 2>/dev/null || true
restore_os
rm -f /var/lib/litelab/steps.jsonl /run/litelab/k3s-token-*
rm -rf /opt/litelab/k3s
