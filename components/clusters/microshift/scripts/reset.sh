#!/bin/bash
# reset.sh, on an existing host: MicroShift goes with its pods and data by its own clean-up, then its packages and configuration.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/own.sh
. "$(dirname "$0")/own.sh"

keep_mounts /var/lib/microshift /var/lib/containers /var/lib/kubelet
if command -v microshift-cleanup-data >/dev/null; then
  # Without CRI-O it would leave the pods.
  timeout -k 5 60 systemctl start crio 2>/dev/null || true
  last=$(echo 1 | timeout -k 5 200 microshift-cleanup-data --all 2>&1) || say "host $NODE: microshift-cleanup-data: $(one_line "$last")"
fi
put_mounts_back
systemctl disable -q --now "$UNIT" 2>/dev/null || true
if command -v dnf >/dev/null; then
  packages "remove MicroShift's packages" 200 dnf remove -y 'microshift*'
elif command -v apt-get >/dev/null && dpkg -l 'microshift*' 2>/dev/null | grep -q '^ii'; then
  packages "remove MicroShift's packages" 200 apt-get -o DPkg::Lock::Timeout=120 purge -y -q 'microshift*'
fi
systemctl disable -q --now crio 2>/dev/null || true
timeout -k 5 60 systemctl stop kubepods.slice 2>/dev/null || true
systemctl reset-failed "$UNIT" crio 2>/dev/null || true
# A CRI-O of the host's own gets its networks back.
for file in /etc/cni/net.d/*crio*.disabled; do [ ! -e "$file" ] || mv "$file" "${file%.disabled}"; done
rm -f "$SHORT_NAMES" "$CNI_PLUGINS" "${VENDOR_LISTS[@]}" /etc/cni/net.d/10-kindnet.conflist
if [ -e "$BROUGHT" ] || [ -e "$BROUGHT.before" ]; then
  forget_brought
  if ! command -v crio >/dev/null; then
    unmount_new /run/netns
    remove_namespaces
    remove /var/lib/containers /var/lib/kubelet /etc/cni /etc/crio /run/crio /run/containerd /run/containers /var/lib/crio /var/lib/cni /var/log/{pods,containers,crio}
    # What CRI-O and mounts of pods made, unless somebody else keeps something there.
    rmdir /usr/share/containers/{oci/hooks.d,oci,} /lib/modules 2>/dev/null || true
    remove_empty /opt/containerd /usr/libexec/kubernetes
  fi
fi
rmdir /etc/containers/{registries.conf.d,} /etc/cni/{net.d,} 2>/dev/null || true
remove_rules 'KUBE-|FLANNEL|CNI-|KIND-'
restore_os
nft list tables 2>/dev/null | awk '/kindnet|kube-network-policies/' | while read -r table; do nft delete "$table" 2>/dev/null || true; done
remove /etc/microshift /var/lib/microshift /var/lib/microshift-backups
rm -rf /var/lib/litelab/microshift* /var/lib/litelab/steps.jsonl /opt/litelab/microshift
systemctl daemon-reload
