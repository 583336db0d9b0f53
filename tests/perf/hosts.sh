#!/usr/bin/env bash
# hosts.sh up|down FOLDER: three machines as a person would start them by hand, from the same root image with the same
# options, in parallel, until ssh answers on each. What Litelab's hosts are measured against.
set -euo pipefail
dir=${2:?usage: hosts.sh up|down FOLDER}
image=$(readlink -f "${LITELAB_CACHE:?}/rootfs/current")
net=10.213.77 ns=perfhosts

one() {
  local n=$1 root=$dir/h$1
  mkdir -p "$root"/{upper/etc/ssh,upper/root/.ssh,upper/etc/systemd/system,work,root,containerd,kubelet}
  chmod 700 "$root/upper/root" "$root/upper/root/.ssh"
  echo "h$n" >"$root/upper/etc/hostname"
  printf 'h%s' "$n" | sha256sum | cut -c1-32 >"$root/upper/etc/machine-id"
  ssh-keygen -q -t ed25519 -N '' -f "$root/upper/etc/ssh/ssh_host_ed25519_key"
  cp "$dir/key.pub" "$root/upper/root/.ssh/authorized_keys"
  printf 'HostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM no\nPermitRootLogin prohibit-password\n' >"$root/upper/etc/ssh/sshd_config"
  for unit in console-getty.service getty.target systemd-networkd.service systemd-resolved.service; do
    ln -sf /dev/null "$root/upper/etc/systemd/system/$unit"
  done
  echo "h$n $(cut -d' ' -f1,2 "$root/upper/etc/ssh/ssh_host_ed25519_key.pub")" >"$root/known"
  mount -t overlay -o "lowerdir=$image,upperdir=$root/upper,workdir=$root/work" perfhosts "$root/root"
  ip netns add "$ns-$n"
  ip -n "$ns" link add "h$n" type veth peer name eth0 netns "$ns-$n"
  ip -n "$ns" link set "h$n" master br0 up
  ip -n "$ns-$n" link set lo up
  ip -n "$ns-$n" addr add "$net.$((10 + n))/25" dev eth0
  ip -n "$ns-$n" link set eth0 up
  ip -n "$ns-$n" route add default via "$net.1"
  local cgroup
  for cgroup in /sys/fs/cgroup/*/; do
    if [ ! -e "$cgroup/cgroup.procs" ] || [ -L "${cgroup%/}" ]; then continue; fi
    mkdir -p "$cgroup/perfhosts/h$n"
    for file in cpuset.cpus cpuset.mems; do
      [ ! -e "$cgroup/$file" ] || { cat "$cgroup/$file" >"$cgroup/perfhosts/$file" && cat "$cgroup/$file" >"$cgroup/perfhosts/h$n/$file"; }
    done
  done
  (
    for cgroup in /sys/fs/cgroup/*/perfhosts/h"$n"; do echo "$BASHPID" >"$cgroup/cgroup.procs"; done
    export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_LOCK=0
    exec setsid systemd-nspawn --quiet --boot --keep-unit --register=no --machine="perf-$n" --directory="$root/root" \
      --network-namespace-path="/run/netns/$ns-$n" --capability=all --system-call-filter=@known --resolv-conf=off --timezone=off \
      --link-journal=no --console=pipe --bind=/dev/kmsg --bind="$root/containerd:/var/lib/containerd" \
      --bind="$root/kubelet:/var/lib/kubelet" </dev/null >"$root/console.log" 2>&1
  ) &
  echo "$!" >"$root/pid"
  for _ in $(seq 1200); do
    ssh -i "$dir/key" -o IdentitiesOnly=yes -o UserKnownHostsFile="$root/known" -o HostKeyAlias="h$n" -o BatchMode=yes \
      -o StrictHostKeyChecking=yes -o ConnectTimeout=2 "root@$net.$((10 + n))" true </dev/null 2>/dev/null && return 0
    sleep 0.05
  done
  echo "h$n: no ssh after 60 s" >&2
  return 1
}

up() {
  mkdir -p "$dir"
  ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
  ip netns add "$ns"
  ip link add perfup type veth peer name uplink netns "$ns"
  ip -n "$ns" link set lo up
  ip -n "$ns" link add br0 type bridge forward_delay 0
  ip -n "$ns" addr add "$net.1/25" dev br0
  ip -n "$ns" link set br0 up
  ip -n "$ns" addr add "$net.253/30" dev uplink
  ip -n "$ns" link set uplink up
  ip addr add "$net.254/30" dev perfup
  ip link set perfup up
  ip route add "$net.0/25" via "$net.253" dev perfup
  ip netns exec "$ns" sysctl -q -w net.ipv4.ip_forward=1
  local n jobs=()
  for n in 1 2 3; do
    one "$n" &
    jobs+=("$!")
  done
  for n in "${jobs[@]}"; do wait "$n"; done
}

down() {
  local n cgroup
  for n in 1 2 3; do
    [ ! -s "$dir/h$n/pid" ] || kill -KILL "$(cat "$dir/h$n/pid")" 2>/dev/null || true
    for _ in $(seq 100); do
      cat /sys/fs/cgroup/*/perfhosts/h"$n"/cgroup.procs 2>/dev/null | sort -u >"$dir/procs" || true
      find /sys/fs/cgroup/*/perfhosts/h"$n" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u >"$dir/procs" || true
      [ -s "$dir/procs" ] || break
      xargs -r kill -KILL <"$dir/procs" 2>/dev/null || true
      sleep 0.05
    done
    ip netns del "$ns-$n" 2>/dev/null || true
  done
  ip link del perfup 2>/dev/null || true
  ip netns del "$ns" 2>/dev/null || true
  awk -v d="$dir/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l
  for cgroup in /sys/fs/cgroup/*/perfhosts; do find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
  rm -rf --one-file-system "$dir"
}

case ${1:-} in
up | down) "$1" ;;
*)
  echo "usage: hosts.sh up|down FOLDER" >&2
  exit 2
  ;;
esac
