#!/bin/bash
# On a host that lives on: everything the other steps made goes, pods first.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../shared/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=names.sh
. "$(dirname "$0")/names.sh"

# One by one: a unit that is not here, such as etcd on a worker, would keep systemctl from stopping the others.
for unit in kubelet kube-proxy flanneld kube-scheduler kube-controller-manager kube-apiserver etcd; do
  systemctl disable -q --now "$unit" 2>/dev/null || true
done
if systemctl -q is-active containerd; then
  ctr -n k8s.io tasks ls -q 2>/dev/null | while read -r task; do ctr -n k8s.io tasks rm -f "$task" >/dev/null 2>&1 || true; done
fi
systemctl disable -q --now containerd 2>/dev/null || true
pkill -KILL -f "^$BASE/bin/containerd-shim" 2>/dev/null || true
awk '$5 ~ "^/(run/containerd|var/lib/kubelet|run/netns)/" { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l 2>/dev/null || true
for link in cni0 flannel.1; do ip link del "$link" 2>/dev/null || true; done
for namespace in $(ip netns list 2>/dev/null | awk '/^cni-/ { print $1 }'); do ip netns del "$namespace" 2>/dev/null || true; done
for family in iptables ip6tables; do
  for table in nat filter mangle; do
    "$family-save" -t "$table" 2>/dev/null | grep -vE 'KUBE-|FLANNEL|CNI-' | "$family-restore" -T "$table" 2>/dev/null || true
  done
done
for unit in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy flanneld containerd; do
  rm -f "/etc/systemd/system/$unit.service"
done
systemctl daemon-reload
find /var/lib/kubelet /var/lib/containerd -mindepth 1 -delete 2>/dev/null || true
rm -rf /etc/kubernetes /etc/cni/net.d /etc/containerd /var/lib/etcd /run/flannel /run/containerd /var/lib/cni /usr/local/bin/kubectl \
  /var/log/pods /var/log/containers /run/litelab/kubectl /var/lib/litelab/steps.jsonl /var/lib/litelab/etcd-of
forget_controllers
# What programs made around their own folders; a folder that holds something else, or is a mount, stays.
find /opt/containerd /usr/libexec/kubernetes -depth -type d -empty -delete 2>/dev/null || true
rmdir /etc/cni /var/lib/kubelet /var/lib/containerd 2>/dev/null || true
if [ -d /run/netns ] && [ -z "$(ls -A /run/netns)" ]; then umount /run/netns 2>/dev/null || true; rmdir /run/netns 2>/dev/null || true; fi
rm -rf /opt/litelab/upstream
