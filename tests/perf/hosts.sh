#!/usr/bin/env bash
# hosts.sh up|down FOLDER: the three machines of a lab as a person would start them by hand, in parallel, until ssh answers
# on each. What Litelab's hosts are measured against: same root image, overlay, namespaces, bridge, caps and nspawn options.
# FOLDER is <checkout>/.lab/run/<name>: names are those of labs, so 'make orphans' names what a killed run left.
# cluster.sh sources this file.
set -euo pipefail
DIR=${2:?usage: hosts.sh up|down FOLDER}
COMPONENTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../components" && pwd -P)
IMAGE=$(readlink -f "${LITELAB_CACHE:?}/rootfs/current")
CPUS=2 MEMORY_MIB=2048
LAB_ID=$(basename "$DIR")-$(printf %s "$DIR" | sha256sum | cut -c1-6)
UPLINK=$(printf '%s-%s' "${LAB_ID:0:8}" "$(printf %s "$LAB_ID" | sha256sum | cut -c1-6)")
NS=litelab-$LAB_ID
REGISTRY=/run/litelab
RECORD=$REGISTRY/labs/$LAB_ID
SYSTEMD_OUTSIDE=false
if [ -f /sys/fs/cgroup/cgroup.controllers ] && [ -d /run/systemd/system ]; then SYSTEMD_OUTSIDE=true; fi

# all FUNCTION: FUNCTION N for every host at once; fails when one fails.
all() {
  local n jobs=() code=0
  for n in 1 2 3; do
    "$1" "$n" </dev/null &
    jobs+=("$!")
  done
  for n in "${jobs[@]}"; do wait "$n" || code=1; done
  return "$code"
}

on() { # on N COMMAND
  ssh -F "$DIR/ssh_config" "host-$1" "$2"
}

key() { ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$DIR/keys/$1" </dev/null; }

network() {
  local third routes pair name value now
  mkdir -p "$REGISTRY/labs"
  exec 9>"$REGISTRY/lock"
  flock 9
  for third in $(seq 0 255); do
    PREFIX=10.86.$third
    ! grep -qsxF "$PREFIX" "$REGISTRY"/labs/*/prefix || continue
    routes=$(ip -4 route show table all root "$PREFIX.0/24" && ip -4 route show table all match "$PREFIX.0/24")
    grep -v '^default' <<<"$routes" | grep -q . || break
  done
  mkdir "$RECORD"
  echo "$PREFIX" >"$RECORD/prefix"
  echo "$DIR" >"$RECORD/run"
  touch "$REGISTRY/sysctls"
  for pair in vm.overcommit_memory=1 kernel.panic=10 kernel.panic_on_oops=1 kernel.keys.root_maxkeys=1000000 \
    kernel.keys.root_maxbytes=25000000 fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=524288; do
    name=${pair%%=*} value=${pair#*=}
    now=$(sysctl -n "$name")
    case $name in fs.inotify.*) [ "$now" -lt "$value" ] || continue ;; esac
    grep -q "^$name=" "$REGISTRY/sysctls" || echo "$name=$now" >>"$REGISTRY/sysctls"
    [ "$now" = "$value" ] || sysctl -q -w "$pair"
  done
  exec 9>&-
  printf 'LAB_ID=%s\nPREFIX=%s\nUPLINK=%s\n' "$LAB_ID" "$PREFIX" "$UPLINK" >"$DIR/lab.env"
  ip netns add "$NS"
  ip link add "$UPLINK" type veth peer name uplink netns "$NS"
  ip -n "$NS" -batch - <<BATCH
link set lo up
link add br0 type bridge forward_delay 0
addr add $PREFIX.1/25 dev br0
link set br0 up
addr add $PREFIX.253/30 dev uplink
link set uplink up
BATCH
  ip addr add "$PREFIX.254/30" dev "$UPLINK"
  ip link set "$UPLINK" up
  ip route add "$PREFIX.0/25" via "$PREFIX.253" dev "$UPLINK" src "$PREFIX.254"
  ip netns exec "$NS" bash -c 'sysctl -q -w net.ipv4.ip_forward=1
    [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || sysctl -q -w net.bridge.bridge-nf-call-iptables=0
    nft -f -' <<'NFT'
table inet litelab {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "uplink" oifname "br0" accept
    iifname "br0" oifname "br0" accept
  }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname "lo" accept
    meta l4proto { icmp, icmpv6 } accept
  }
}
NFT
  cat >"$DIR/ssh_config" <<CONFIG
$(for n in 1 2 3; do printf 'Host host-%d\n  HostName %s.%d\n  HostKeyAlias host-%d\n' "$n" "$PREFIX" $((10 + n)) "$n"; done)
Host *
  User root
  IdentityFile $DIR/keys/client
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile $DIR/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 5
CONFIG
}

files() { # files N: what makes a machine itself
  local d=$DIR/hosts/host-$1 u=$DIR/hosts/host-$1/upper n
  mkdir -p "$d"/{work,root,data/containerd,data/kubelet,caps/cpu,caps/node} "$u"/{etc/ssh,root/.ssh,usr/local/sbin} \
    "$u"/etc/systemd/{system/sysinit.target.wants,system.conf.d,journald.conf.d}
  chmod 700 "$u/root" "$u/root/.ssh"
  echo "host-$1" >"$u/etc/hostname"
  printf %s "$LAB_ID-host-$1" | sha256sum | cut -c1-32 >"$u/etc/machine-id"
  { echo '127.0.0.1 localhost' && for n in 1 2 3; do echo "$PREFIX.$((10 + n)) host-$n"; done; } >"$u/etc/hosts"
  echo "nameserver $PREFIX.1" >"$u/etc/resolv.conf"
  cp "$DIR/keys/host-$1" "$u/etc/ssh/ssh_host_ed25519_key"
  cp "$DIR/keys/client.pub" "$u/root/.ssh/authorized_keys"
  printf '%s\n' 'HostKey /etc/ssh/ssh_host_ed25519_key' 'PasswordAuthentication no' 'KbdInteractiveAuthentication no' \
    'PermitRootLogin prohibit-password' 'UsePAM no' 'UseDNS no' 'PrintMotd no' 'MaxStartups 100' 'MaxSessions 100' \
    'Subsystem sftp internal-sftp' >"$u/etc/ssh/sshd_config"
  printf '[Manager]\nDefaultTimeoutStopSec=10s\n' >"$u/etc/systemd/system.conf.d/litelab.conf"
  printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n' >"$u/etc/systemd/journald.conf.d/litelab.conf"
  printf '%s\n' '[Unit]' 'DefaultDependencies=no' 'Before=sysinit.target' '[Service]' 'Type=oneshot' 'RemainAfterExit=yes' \
    'ExecStart=/usr/local/sbin/litelab-boot' >"$u/etc/systemd/system/litelab-boot.service"
  install -m 755 "$COMPONENTS/hosts/nspawn/scripts/boot.sh" "$u/usr/local/sbin/litelab-boot"
  ln -s ../litelab-boot.service "$u/etc/systemd/system/sysinit.target.wants/"
  for n in systemd-networkd.service systemd-resolved.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-networkd-wait-online.service console-getty.service getty.target; do
    : >"$u/etc/systemd/system/$n"
  done
  # The caps as programs read them.
  awk -v want="$CPUS" 'BEGIN { RS = ""; ORS = "\n\n" } NR <= want' /proc/cpuinfo >"$d/caps/cpuinfo"
  awk -v kib=$((MEMORY_MIB * 1024)) '$1 == "MemTotal:" { $2 = kib } /^Mem(Free|Available):/ && $2 > kib { $2 = kib }
    /^Swap/ { $2 = 0 } { print }' /proc/meminfo >"$d/caps/meminfo"
  for n in $(seq 0 $((CPUS - 1))); do mkdir "$d/caps/cpu/cpu$n" && cp -r "/sys/devices/system/cpu/cpu$n/topology" "$d/caps/cpu/cpu$n/"; done
  for n in online possible present; do echo "0-$((CPUS - 1))" | sed 's/^0-0$/0/' >"$d/caps/cpu/$n"; done
}

cgroups() { # cgroups N: the folders of a machine, one a hierarchy
  local h
  if $SYSTEMD_OUTSIDE; then
    echo "/sys/fs/cgroup/litelab.slice/litelab-$LAB_ID-host-$1.service"
  elif [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo "/sys/fs/cgroup/litelab/$LAB_ID/host-$1"
  else
    for h in /sys/fs/cgroup/*/; do
      [ -L "${h%/}" ] || [ ! -e "${h}cgroup.procs" ] || echo "${h}litelab/$LAB_ID/host-$1"
    done
  fi
}

machine() { # machine N: from nothing to ssh
  local name=host-$1 d=$DIR/hosts/host-$1 dir path part file
  files "$1"
  mount -t overlay -o "lowerdir=$IMAGE,upperdir=$d/upper,workdir=$d/work" "litelab-$LAB_ID" "$d/root"
  ip netns add "$NS-$name"
  ip -n "$NS" link add "$name" type veth peer name eth0 netns "$NS-$name"
  ip -n "$NS" link set "$name" master br0 up
  ip -n "$NS-$name" -batch - <<BATCH
link set lo up
addr add $PREFIX.$((10 + $1))/25 brd + dev eth0
link set eth0 up
route add default via $PREFIX.1
BATCH
  local options=(
    --quiet --boot --keep-unit --register=no "--machine=$LAB_ID-$name" "--hostname=$name" "--directory=$d/root"
    "--network-namespace-path=/run/netns/$NS-$name" --capability=all --system-call-filter=@known --resolv-conf=off
    --timezone=off --link-journal=no --console=pipe --kill-signal=SIGRTMIN+3 --bind=/dev/kmsg
    "--bind=$d/data/containerd:/var/lib/containerd" "--bind=$d/data/kubelet:/var/lib/kubelet" "--bind-ro=$d/caps:/run/host/caps"
  )
  [ ! -e /dev/net/tun ] || options+=(--bind=/dev/net/tun)
  [ ! -e /dev/fuse ] || options+=(--bind=/dev/fuse)
  export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_LOCK=0
  if $SYSTEMD_OUTSIDE; then
    systemd-run --quiet --collect --unit="litelab-$LAB_ID-$name" --slice=litelab.slice -p Delegate=yes -p KillMode=mixed \
      -p CPUQuota="$((CPUS * 100))%" -p MemoryMax="${MEMORY_MIB}M" -p TasksMax=infinity \
      -E SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 -E SYSTEMD_NSPAWN_LOCK=0 systemd-nspawn "${options[@]}"
    systemctl show -p MainPID --value "litelab-$LAB_ID-$name" >"$RECORD/$name.pid"
  else
    while read -r dir; do
      mkdir -p "$dir"
      if [ -e "$dir/cpuset.cpus" ] && [ ! -f /sys/fs/cgroup/cgroup.controllers ]; then
        path=${dir%%/litelab/*}
        for part in litelab "$LAB_ID" "$name"; do
          for file in cpuset.cpus cpuset.mems; do
            [ -n "$(cat "$path/$part/$file")" ] || cat "$path/$file" >"$path/$part/$file"
          done
          path=$path/$part
        done
      fi
      [ ! -e "$dir/cpu.cfs_quota_us" ] || echo $((CPUS * 100000)) >"$dir/cpu.cfs_quota_us"
      [ ! -e "$dir/memory.limit_in_bytes" ] || echo $((MEMORY_MIB * 1048576)) >"$dir/memory.limit_in_bytes"
      [ ! -e "$dir/cpu.max" ] || echo "$((CPUS * 100000)) 100000" >"$dir/cpu.max"
      [ ! -e "$dir/memory.max" ] || echo $((MEMORY_MIB * 1048576)) >"$dir/memory.max"
    done < <(cgroups "$1")
    (
      while read -r dir; do echo "$BASHPID" >"$dir/cgroup.procs"; done < <(cgroups "$1")
      exec setsid systemd-nspawn "${options[@]}" </dev/null >"$d/console.log" 2>&1
    ) &
    echo "$!" >"$RECORD/$name.pid"
  fi
  for _ in $(seq 1200); do
    if (exec 3<>"/dev/tcp/$PREFIX.$((10 + $1))/22") 2>/dev/null && on "$1" true </dev/null 2>/dev/null; then return; fi
    sleep 0.05
  done
  echo "host-$1: no ssh after 60 s; $(tail -n 3 "$d/console.log")" >&2
  return 1
}

# The keys and the network need nothing of each other.
begin() {
  local jobs=() n
  mkdir -p "$DIR/keys"
  for n in client host-1 host-2 host-3; do
    key "$n" &
    jobs+=("$!")
  done
  network
  for n in "${jobs[@]}"; do wait "$n"; done
  for n in 1 2 3; do echo "host-$n $(cut -d' ' -f1,2 "$DIR/keys/host-$n.pub")"; done >"$DIR/known_hosts"
}

hosts_up() {
  begin
  all machine
}

end_machine() { # end_machine N
  local name=host-$1 p
  if $SYSTEMD_OUTSIDE; then
    systemctl stop "litelab-$LAB_ID-$name" 2>/dev/null || true
  elif [ -s "$RECORD/$name.pid" ]; then
    kill -KILL "$(cat "$RECORD/$name.pid")" 2>/dev/null || true
  fi
  for _ in $(seq 100); do
    p=$(cgroups "$1" | xargs -I@ find @ -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u) || true
    [ -n "$p" ] || break
    # shellcheck disable=SC2086
    kill -KILL $p 2>/dev/null || true
    sleep 0.05
  done
  ip -n "$NS" link del "$name" 2>/dev/null || true
  ip netns del "$NS-$name" 2>/dev/null || true
  umount "$DIR/hosts/$name/root" 2>/dev/null || umount -l "$DIR/hosts/$name/root" 2>/dev/null || true
  cgroups "$1" | xargs -I@ find @ -depth -type d -exec rmdir {} + 2>/dev/null || true
  rm -rf --one-file-system "$DIR/hosts/$name"
}

down() {
  local dir pair
  all end_machine
  cgroups 1 | while read -r dir; do rmdir "${dir%/*}" "${dir%/*/*}" 2>/dev/null || true; done
  ip link del "$UPLINK" 2>/dev/null || true
  ip netns del "$NS" 2>/dev/null || true
  rm -rf --one-file-system "$DIR"
  [ -d "$RECORD" ] || return 0
  exec 9>"$REGISTRY/lock"
  flock 9
  rm -rf "$RECORD"
  if rmdir "$REGISTRY/labs" 2>/dev/null; then
    while read -r pair; do sysctl -q -w "$pair" || true; done <"$REGISTRY/sysctls"
    rm -rf "$REGISTRY"
  fi
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  case $1 in
  up) hosts_up ;;
  down) down ;;
  *)
    echo "usage: hosts.sh up|down FOLDER" >&2
    exit 2
    ;;
  esac
fi
