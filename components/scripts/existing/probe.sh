# shellcheck shell=bash
# Read by root's bash on a host, over ssh: what it is and what is on it, one KEY=VALUE a line; keys may repeat.
# $1: the lab's id, whose own things on the host hinder nothing.
set -uo pipefail
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
own=$1

fact() {
  local words text
  read -rd '' -a words <<<"$2" || true
  text=${words[*]}
  printf '%s=%s\n' "$1" "${text:0:300}"
}
holds() { [ -d "$1" ] && [ -n "$(ls -A "$1" 2>/dev/null)" ]; }
has_unit() { [[ $'\n'$units == *$'\n'"$1 "* ]]; }

fact hostname "$(uname -n)"
fact os "$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-}")"
fact kernel "$(uname -r)"
fact architecture "$(uname -m)"
fact cpuModel "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)"
fact cpus "$(grep -c '^processor' /proc/cpuinfo)"
fact memoryMib "$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)"
fact diskMib "$(df -Pm /var/lib | awk 'NR == 2 { print $2 }')"
fact diskFreeMib "$(df -Pm /var/lib | awk 'NR == 2 { print $4 }')"
fact fileSystem "$(stat -f -c %T /var/lib)"
fact virtualization "$(systemd-detect-virt 2>/dev/null)"
fact init "$(cat /proc/1/comm)"
fact systemd "$(systemctl --version 2>/dev/null | awk 'NR == 1 { print $2 }')"
fact machineId "$(cat /etc/machine-id 2>/dev/null)"
fact swap "$(awk '/^SwapTotal:/ { print $2 }' /proc/meminfo)"
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  fact cgroups v2
  fact controllers "$(cat /sys/fs/cgroup/cgroup.controllers)"
else
  fact cgroups v1
  fact controllers "$(awk 'NR > 1 && $4 == 1 { print $1 }' /proc/cgroups)"
fi
while read -r address; do fact address "$address"; done < <(ip -o -4 addr show scope global 2>/dev/null | awk '{ sub(/\/.*/, "", $4); print $4 }')
for program in awk base64 flock grep ip iptables iptables-restore iptables-save mount sha256sum tar umount zstd; do
  command -v "$program" >/dev/null || fact missing "$program"
done

fact lab "$(cat /var/lib/litelab/lab 2>/dev/null)"
if [ "$(cat /var/lib/litelab/lab 2>/dev/null)" != "$own" ]; then
  # What it carries, and the command that clears it, each by the vendor's own word.
  for script in k3s-uninstall.sh k3s-agent-uninstall.sh; do
    [ ! -x "/usr/local/bin/$script" ] || fact carries "K3s|/usr/local/bin/$script"
  done
  for folder in /usr/bin /usr/local/bin /opt/rke2/bin; do
    [ ! -x "$folder/rke2-uninstall.sh" ] || fact carries "RKE2|$folder/rke2-uninstall.sh"
  done
  if command -v k0s >/dev/null || holds /var/lib/k0s; then fact carries "k0s|k0s stop; k0s reset"; fi
  if [ -d /var/snap/microk8s ]; then fact carries "MicroK8s|snap remove --purge microk8s"; fi
  if command -v microshift >/dev/null; then fact carries "MicroShift|microshift-cleanup-data --all && dnf remove -y 'microshift*'"; fi
  if holds /etc/kubernetes/manifests && command -v kubeadm >/dev/null; then fact carries "Kubernetes of kubeadm|kubeadm reset --force"; fi
  if holds /opt/litelab; then
    fact carries "what another lab left|for r in /opt/litelab/*/scripts/reset.sh; do \$r; done; rm -rf /opt/litelab /var/lib/litelab"
  fi
  # At once: each call reads all that there are.
  units=$(systemctl list-unit-files --no-legend {docker,crio,containerd,kubelet,kube-proxy,etcd,flanneld}.service 2>/dev/null)
  for unit in docker crio containerd; do
    if has_unit "$unit.service"; then fact carries "the container runtime $unit|systemctl disable --now $unit, and remove its package"; fi
  done
  for unit in kubelet kube-proxy etcd flanneld; do
    if has_unit "$unit.service"; then fact carries "the unit $unit|systemctl disable --now $unit, and remove what brought it"; fi
  done
  for folder in /etc/kubernetes /var/lib/kubelet /etc/cni/net.d /var/lib/cni /etc/containerd /var/lib/containerd /var/lib/etcd /var/log/pods /run/flannel; do
    if holds "$folder"; then fact carries "files in $folder|rm -rf $folder, once nothing uses it"; fi
  done
  [ ! -e /usr/local/bin/kubectl ] || fact carries "/usr/local/bin/kubectl|rm /usr/local/bin/kubectl"
  for link in cni0 flannel.1; do
    if ip link show "$link" >/dev/null 2>&1; then fact carries "the link $link|ip link del $link"; fi
  done
  while read -r port; do
    fact carries "a program that listens on port $port|ss -tlnp 'sport = :$port' names it: stop it"
  done < <(ss -Htln 2>/dev/null | awk '{ sub(/.*:/, "", $4); print $4 }' | sort -un | grep -xE '6443|2379|2380|10248|10249|10250|10256|10257|10259')
fi
# Last, so that nothing lies between the reading and its arrival.
printf 'clockNs=%s\n' "$(date +%s%N)"
