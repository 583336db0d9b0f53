#!/bin/bash
# On an existing host: everything the other steps made goes, pods first.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/names.sh
. "$(dirname "$0")/names.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/own.sh
. "$(dirname "$0")/own.sh"

# One by one: a unit that is not here, such as etcd on a worker, would keep systemctl from stopping the others.
for unit in kubelet kube-proxy flanneld kube-scheduler kube-controller-manager kube-apiserver etcd; do
  systemctl disable -q --now "$unit" 2>/dev/null || true
done
if systemctl -q is-active containerd; then
  ctr -n k8s.io tasks ls -q 2>/dev/null | while read -r task; do ctr -n k8s.io tasks rm -f "$task" >/dev/null 2>&1 || true; done
fi
systemctl disable -q --now containerd 2>/dev/null || true
pkill -KILL -f "^$BASE/bin/containerd-shim" 2>/dev/null || true
unmount_new /run/netns
remove_links cni0 flannel.1
remove_namespaces
remove_rules 'KUBE-|FLANNEL|CNI-'
for unit in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy flanneld containerd; do
  rm -f "/etc/systemd/system/$unit.service"
done
systemctl daemon-reload
remove /var/lib/kubelet /var/lib/containerd /var/lib/etcd /etc/kubernetes /etc/cni /etc/containerd /run/flannel /run/containerd \
  /var/lib/cni /usr/local/bin/kubectl /var/log/pods /var/log/containers
rm -rf /run/litelab/kubectl /var/lib/litelab/steps.jsonl /var/lib/litelab/etcd-of
forget_names
remove_empty /opt/containerd /usr/libexec/kubernetes /usr/local/bin
rm -rf /opt/litelab/upstream
