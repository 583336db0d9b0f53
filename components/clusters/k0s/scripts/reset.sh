#!/bin/bash
# reset.sh, on an existing host: k0s and all that it made go, by its own reset; then what that leaves (it advises a reboot).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/own.sh
. "$(dirname "$0")/own.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/names.sh
. "$(dirname "$0")/names.sh"

systemctl disable -q --now k0scontroller k0sworker 2>/dev/null || true
keep_mounts "$DATA" /var/lib/kubelet
[ ! -x "$K0S" ] || timeout -k 5 200 "$K0S" reset >/dev/null 2>&1 || say "k0s reset ended with an error; what it left is removed one by one"
pkill -KILL -f "^$DATA/bin/" 2>/dev/null || true
put_mounts_back
unmount_new /run/netns
remove_links kube-bridge kube-dummy-if dummy0
# kube-router's, to the pods of hosts that are neighbours now: they would be in the way of the next cluster's.
ip -4 route show table main proto 17 2>/dev/null | while read -r route; do
  # shellcheck disable=SC2086 # the words of a route
  was_there "route $route proto 17" || was_there "route $route" || ip -4 route del $route proto 17 2>/dev/null || true
done
remove_namespaces
remove_rules 'KUBE-|CNI-'
rm -f /etc/systemd/system/k0scontroller.service /etc/systemd/system/k0sworker.service "$K0S"
systemctl daemon-reload
remove "$DATA" /var/lib/kubelet /etc/k0s /run/k0s /run/containerd /etc/cni /opt/cni /var/lib/cni /var/log/pods /var/log/containers
remove_empty /opt/containerd /usr/libexec/kubernetes /usr/libexec/k0s /usr/local/bin
forget_names
restore_os
rm -f /var/lib/litelab/steps.jsonl /run/litelab/k0s-token-*
rm -rf /opt/litelab/k0s
