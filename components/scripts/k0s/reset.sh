#!/bin/bash
# reset.sh, on a host that lives on: k0s and all that it made go, by its own reset; then what that leaves (it advises a reboot).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"

systemctl disable -q --now k0scontroller k0sworker 2>/dev/null || true
[ ! -x "$K0S" ] || timeout -k 5 200 "$K0S" reset >/dev/null 2>&1 || say "k0s reset ended with an error; what it left is removed one by one"
pkill -KILL -f "^$DATA/bin/" 2>/dev/null || true
awk '$5 ~ "^/(run/k0s|var/lib/k0s/.|run/netns)/" { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l 2>/dev/null || true
for link in kube-bridge kube-dummy-if dummy0; do ip link del "$link" 2>/dev/null || true; done
# kube-router's, to the pods of hosts that are neighbours now: they would be in the way of the next cluster's.
ip -4 route flush proto 17 2>/dev/null || true
for namespace in $(ip netns list 2>/dev/null | awk '/^cni-/ { print $1 }'); do ip netns del "$namespace" 2>/dev/null || true; done
for table in nat filter mangle; do
  iptables-save -t "$table" 2>/dev/null | grep -vE 'KUBE-|CNI-' | iptables-restore -T "$table" 2>/dev/null || true
done
rm -f /etc/systemd/system/k0scontroller.service /etc/systemd/system/k0sworker.service "$K0S"
systemctl daemon-reload
find "$DATA" -mindepth 1 -delete 2>/dev/null || true
find /var/lib/kubelet -mindepth 1 -delete 2>/dev/null || true
rm -rf /etc/k0s /run/k0s /etc/cni /opt/cni /var/lib/cni /var/log/pods /var/log/containers
restore_os
rm -f /var/lib/litelab/steps.jsonl /run/litelab/k0s-token-*
rm -rf /opt/litelab/k0s
