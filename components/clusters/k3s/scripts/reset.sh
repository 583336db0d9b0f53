#!/bin/bash
# reset.sh, on an existing host: K3s and all that it made go, by its own uninstaller where there is one.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k3s.sh
. "$(dirname "$0")/k3s.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/own.sh
. "$(dirname "$0")/own.sh"

keep_mounts /var/lib/rancher /var/lib/kubelet
for script in k3s-uninstall.sh k3s-agent-uninstall.sh; do
  [ ! -x "/usr/local/bin/$script" ] || timeout -k 5 200 "/usr/local/bin/$script" >/dev/null 2>&1 || say "$script ended with an error; what it left is removed one by one"
done
put_mounts_back
systemctl disable -q --now k3s k3s-agent 2>/dev/null || true
remove /etc/systemd/system/k3s.service /etc/systemd/system/k3s.service.env /etc/systemd/system/k3s-agent.service \
  /etc/systemd/system/k3s-agent.service.env /usr/local/bin/k3s /usr/local/bin/k3s-{killall,uninstall,agent-uninstall}.sh
systemctl daemon-reload
unmount_new /run/netns
remove_links cni0 flannel.1
remove_namespaces
remove_rules 'KUBE-|FLANNEL|CNI-'
remove /etc/rancher /var/lib/rancher/k3s /var/lib/rancher /run/k3s /run/containerd /run/flannel /var/lib/cni /etc/cni /var/lib/kubelet /var/log/pods /var/log/containers
remove_empty /opt/containerd /usr/libexec/kubernetes /usr/local/bin
restore_os
rm -f /var/lib/litelab/steps.jsonl /run/litelab/k3s-token-*
rm -rf /opt/litelab/k3s
