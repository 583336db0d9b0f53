# shellcheck shell=bash
# Read by root's bash on a host, over ssh: what it is and what is on it, one KEY=VALUE a line; keys may repeat.
# $1: the lab's id, whose own things on the host hinder nothing; then programs that its distribution needs.
set -uo pipefail
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
own=$1

fact() {
  local words text
  read -rd '' -a words <<<"$2" || true
  text=${words[*]}
  printf '%s=%s\n' "$1" "${text:0:300}"
}
# files_in PATH: a few of the files there, or the file itself. Empty folders are no data, nor is the lost+found of a disk of its own.
files_in() { find -H "$1" ! -type d ! -path '*/lost+found/*' -print 2>/dev/null | head -n 4 | sed "s|^$1/||" | paste -sd' '; }
mounts_at() { awk -v p="$1" '$5 == p || index($5, p "/") == 1 { print $5 }' /proc/self/mountinfo; }
# look KIND PATH: files there hinder a lab. Configuration can be moved away; a mount is emptied and stays.
look() {
  local found mounts fix
  found=$(files_in "$2")
  [ -n "$found" ] || return 0
  mounts=$(mounts_at "$2" | paste -sd' ')
  if [ "$1" = configuration ]; then
    fix="move it away, 'mv $2 $2.before', and back after the lab"
  elif [ -n "$mounts" ]; then
    fix="once nothing uses it, 'find $2 ! -type d -delete', which empties it and leaves $mounts mounted"
  else
    fix="rm -rf $2, once nothing uses it"
  fi
  if [ -d "$2" ]; then found="files in $2 (${found:0:100})"; else found="the file $2"; fi
  fact carries "$found|$fix"
}
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
fact swapMib "$(awk '/^SwapTotal:/ { print int($2 / 1024) }' /proc/meminfo)"
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  fact cgroups v2
  fact controllers "$(cat /sys/fs/cgroup/cgroup.controllers)"
else
  fact cgroups v1
  fact controllers "$(awk 'NR > 1 && $4 == 1 { print $1 }' /proc/cgroups)"
fi
fact glibc "$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc //p')"
# Where a lab writes, and where programs that it brings are started; what is not there yet is made in the folder above.
for folder in /etc /etc/systemd/system /usr/local/bin /opt /var/lib /var/lib/rancher /var/lib/k0s /var/log /run; do
  at=$folder
  while [ ! -e "$at" ]; do at=$(dirname "$at"); done
  [ -w "$at" ] || fact readOnly "$folder"
  case $folder in /opt | /usr/local/bin)
    [ "$(stat -c %d "$at")" = "$(stat -c %d /var/lib)" ] || fact free "$folder $(df -Pm "$at" | awk 'NR == 2 { print $4 }')"
    ;;
  esac
  case $folder in /usr/local/bin | /opt | /var/lib | /var/lib/*)
    awk -v at="$(readlink -f "$at")" '
      $5 == "/" || $5 == at || index(at, $5 "/") == 1 { if (length($5) >= longest) { longest = length($5); options = $6 } }
      END { exit options !~ /(^|,)noexec(,|$)/ }' /proc/self/mountinfo && fact noexec "$folder"
    ;;
  esac
done
while read -r resolver; do fact resolver "$resolver"; done < <(awk '$1 == "nameserver" { print $2 }' /etc/resolv.conf 2>/dev/null)
# What stands behind a stub on loopback (step.sh, resolver_file).
for file in /run/systemd/resolve/resolv.conf /run/NetworkManager/no-stub-resolv.conf /run/NetworkManager/resolv.conf /run/dnsmasq/resolv.conf; do
  while read -r resolver; do fact upstreamResolver "$resolver"; done < <(
    awk '$1 == "nameserver" { if ($2 ~ /^(127\.|::1$)/) stub = 1; else list = list $2 "\n" } END { if (!stub) printf "%s", list }' "$file" 2>/dev/null
  )
done
while read -r address; do fact address "$address"; done < <(ip -o -4 addr show scope global 2>/dev/null | awk '{ sub(/\/.*/, "", $4); print $4 }')
for program in awk base64 cmp find flock grep gzip hostname ip iptables iptables-restore iptables-save mktemp mount od pkill sed sha256sum \
  sort ss stat sysctl systemctl tail tar timeout umount xargs "${@:2}"; do
  command -v "$program" >/dev/null || [ -x "/snap/bin/$program" ] || fact missing "$program"
done

fact lab "$(cat /var/lib/litelab/lab 2>/dev/null)"
if [ "$(cat /var/lib/litelab/lab 2>/dev/null)" != "$own" ]; then
  while read -r route; do fact route "$route"; done < <(
    ip -4 route show table all 2>/dev/null | awk '$1 ~ /^[0-9]/ { print $1 } $1 ~ /^(unicast|unreachable|blackhole|prohibit)$/ { print $2 }' | sort -u | head -n 2000
  )
  # What it carries, and the command that clears it, each by the vendor's own word.
  for script in k3s-uninstall.sh k3s-agent-uninstall.sh; do
    [ ! -x "/usr/local/bin/$script" ] || fact carries "K3s|/usr/local/bin/$script"
  done
  for folder in /usr/bin /usr/local/bin /opt/rke2/bin; do
    [ ! -x "$folder/rke2-uninstall.sh" ] || fact carries "RKE2|$folder/rke2-uninstall.sh"
  done
  if command -v k0s >/dev/null || [ -n "$(files_in /var/lib/k0s)" ]; then fact carries "k0s|k0s stop; k0s reset"; fi
  if [ -d /var/snap/microk8s ]; then fact carries "MicroK8s|snap remove --purge microk8s"; fi
  if command -v microshift >/dev/null; then fact carries "MicroShift|microshift-cleanup-data --all && dnf remove -y 'microshift*'"; fi
  if [ -n "$(files_in /etc/kubernetes/manifests)" ] && command -v kubeadm >/dev/null; then fact carries "Kubernetes of kubeadm|kubeadm reset --force"; fi
  if [ -n "$(files_in /opt/litelab)" ]; then
    fact carries "what another lab left|for r in /opt/litelab/*/scripts/reset.sh; do \$r; done; rm -rf /opt/litelab /var/lib/litelab"
  fi
  # At once: each call reads all that there are.
  others=(kubelet kube-proxy etcd flanneld k3s k3s-agent rke2-server rke2-agent k0scontroller k0sworker microshift)
  units=$(systemctl list-unit-files --no-legend docker.service crio.service containerd.service "${others[@]/%/.service}" 2>/dev/null)
  for unit in docker crio containerd; do
    if has_unit "$unit.service"; then fact carries "the container runtime $unit|systemctl disable --now $unit, and remove its package"; fi
  done
  for unit in "${others[@]}"; do
    if has_unit "$unit.service"; then fact carries "the unit $unit|systemctl disable --now $unit, and remove what brought it"; fi
  done
  # A distribution would read them, write over them, and its reset would delete them.
  for path in /etc/kubernetes /etc/cni /etc/containerd /etc/crio /etc/rancher /etc/k0s /etc/microshift /etc/microk8s.yaml \
    /root/snap/microk8s/common/.microk8s.yaml /etc/{default,sysconfig}/{kubelet,k3s,k3s-agent,k0scontroller,k0sworker,microshift} \
    /etc/systemd/system/{k3s,k3s-agent}.service.env /etc/systemd/system/{kubelet,kube-proxy,kube-apiserver,kube-controller-manager,kube-scheduler,etcd,flanneld,containerd,crio,k3s,k3s-agent,k0scontroller,k0sworker,microshift}.service.d \
    /usr/local/bin/{kubectl,k0s,k3s,k3s-killall.sh}; do
    [ ! -e "$path" ] || look configuration "$path"
  done
  for path in /var/lib/{kubelet,cni,calico,containerd,etcd,rancher,k0s,microshift,microshift-backups,crio} /opt/cni /opt/containerd \
    /var/log/{pods,containers,crio} /run/{flannel,k3s,k0s,crio}; do
    look data "$path"
  done
  for link in cni0 flannel.1; do
    if ip link show "$link" >/dev/null 2>&1; then fact carries "the link $link|ip link del $link"; fi
  done
  while read -r port; do
    fact carries "a program that listens on port $port|ss -tlnp 'sport = :$port' names it: stop it"
  done < <(ss -Htln 2>/dev/null | awk '{ sub(/.*:/, "", $4); print $4 }' | sort -un | grep -xE '6443|2379|2380|10248|10249|10250|10256|10257|10259')
fi
# Last, so that nothing lies between the reading and its arrival.
printf 'clockNs=%s\n' "$(date +%s%N)"
