#!/usr/bin/env bash
# host.sh create|delete NAME: one systemd-nspawn machine, from nothing to an ssh login with a verified host key.
# Prints {"identity": new for every machine made, "hostKey": its public ssh key}.
# Environment: ADDRESS (last number of the address), CPUS, MEMORY_MIB, INTERNET.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$(dirname "$0")/lab.sh"
need_root
umask 022

NAME=${2:?usage: host.sh create|delete NAME}
DIR=$RUN/hosts/$NAME
ROOT_IMAGE=${LITELAB_CACHE:-$RUN/../../../.cache}/rootfs/current

host_names() {
  load_lab || die "host $NAME: $RUN/lab.env is missing, so the lab's network was never made. Run 'make lab STACK=$STACK' again."
  NETNS=$LAB_NS-$NAME
}

# The machine's caps, as its programs see them. Kubelets read /proc and /sys, which show the whole machine.
capped_proc() {
  local n cpus=${CPUS:?}
  mkdir -p "$DIR/caps"
  awk -v want="$cpus" 'BEGIN { RS = ""; ORS = "\n\n" } NR <= want' /proc/cpuinfo >"$DIR/caps/cpuinfo"
  awk -v kib=$((MEMORY_MIB * 1024)) '
    $1 == "MemTotal:" { print "MemTotal:       " kib " kB"; next }
    $1 == "MemFree:" || $1 == "MemAvailable:" { if ($2 > kib) $2 = kib; print $1 "       " $2 " kB"; next }
    $1 ~ /^Swap(Total|Free|Cached):$/ { print $1 "       0 kB"; next }
    { print }' /proc/meminfo >"$DIR/caps/meminfo"
  echo "0-$((cpus - 1))" | sed 's/^0-0$/0/' >"$DIR/caps/online"
  rm -rf "$DIR/caps/cpu"
  mkdir -p "$DIR/caps/cpu"
  for n in $(seq 0 $((cpus - 1))); do
    mkdir -p "$DIR/caps/cpu/cpu$n"
    cp -r "/sys/devices/system/cpu/cpu$n/topology" "$DIR/caps/cpu/cpu$n/" 2>/dev/null || true
  done
  cp "$DIR/caps/online" "$DIR/caps/cpu/online"
  cp "$DIR/caps/online" "$DIR/caps/cpu/possible"
  cp "$DIR/caps/online" "$DIR/caps/cpu/present"
  mkdir -p "$DIR/caps/node"
}

root_files() { # what makes this machine itself, in its own layer over the shared read-only root
  local upper=$DIR/upper n
  mkdir -p "$upper/etc/ssh" "$upper/etc/systemd/system/sysinit.target.wants" "$upper/root/.ssh" \
    "$upper/etc/systemd/system.conf.d" "$upper/etc/systemd/journald.conf.d"
  chmod 700 "$upper/root" "$upper/root/.ssh"
  printf '%s\n' "$NAME" >"$upper/etc/hostname"
  printf '%s' "$LAB_ID-$NAME" | sha256sum | cut -c1-32 >"$upper/etc/machine-id"
  {
    printf '127.0.0.1 localhost\n'
    # All that the subnet has room for: a host more changes no other host.
    for n in $(seq 115); do printf '%s.%d host-%d\n' "$PREFIX" $((n + 10)) "$n"; done
  } >"$upper/etc/hosts"
  # A nameserver that is not loopback: K3s and others would replace that by a public one.
  if [ "${INTERNET:-false}" = true ]; then echo "nameserver 10.0.2.3"; else echo "nameserver $PREFIX.1"; fi >"$upper/etc/resolv.conf"
  ssh-keygen -q -t ed25519 -N '' -C "$NAME" -f "$upper/etc/ssh/ssh_host_ed25519_key" </dev/null
  mkdir -p "$RUN/ssh"
  printf '%s.%s %s\n' "$PREFIX" "$ADDRESS" "$(cut -d' ' -f1,2 "$upper/etc/ssh/ssh_host_ed25519_key.pub")" >"$RUN/ssh/.$NAME.new"
  mv "$RUN/ssh/.$NAME.new" "$RUN/ssh/$NAME"
  cat >"$upper/etc/ssh/sshd_config" <<'SSHD'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
SSHD
  cp "$RUN/id_ed25519.pub" "$upper/root/.ssh/authorized_keys"
  chmod 600 "$upper/root/.ssh/authorized_keys"
  printf '[Manager]\nDefaultTimeoutStopSec=10s\n' >"$upper/etc/systemd/system.conf.d/litelab.conf"
  printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n' >"$upper/etc/systemd/journald.conf.d/litelab.conf"
  cat >"$upper/etc/systemd/system/litelab-boot.service" <<'UNIT'
[Unit]
Description=Prepare a container for kubelets: shared mounts, writable cgroups, caps as seen in /proc and /sys
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/litelab-boot
UNIT
  mkdir -p "$upper/usr/local/sbin"
  cp "$here/boot.sh" "$upper/usr/local/sbin/litelab-boot"
  chmod 755 "$upper/usr/local/sbin/litelab-boot"
  ln -sf ../litelab-boot.service "$upper/etc/systemd/system/sysinit.target.wants/litelab-boot.service"
  for n in systemd-networkd.service systemd-resolved.service systemd-timesyncd.service apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-networkd-wait-online.service \
    console-getty.service getty.target; do
    ln -sf /dev/null "$upper/etc/systemd/system/$n"
  done
}

make_network() {
  ip netns add "$NETNS"
  ip -n "$LAB_NS" link add "$NAME" type veth peer name eth0 netns "$NETNS"
  ip -n "$LAB_NS" link set "$NAME" master br0 up
  ip -n "$NETNS" -batch - <<BATCH
link set lo up
addr add $PREFIX.$ADDRESS/25 brd + dev eth0
link set eth0 up
route add default via $PREFIX.1
BATCH
}

make_cgroups() { # v1, or v2 without systemd: made by hand; with systemd its own unit makes and caps it
  local dir hierarchy
  while read -r dir; do
    mkdir -p "$dir"
    # A cpuset takes no process before it has processors and memory nodes, from the top down.
    if [ -e "$dir/cpuset.cpus" ] && [ "$(cgroup_version)" = 1 ]; then
      hierarchy=${dir%%/litelab/*}
      local path=$hierarchy part file
      for part in litelab "$LAB_ID" "$NAME"; do
        for file in cpuset.cpus cpuset.mems; do
          [ -n "$(cat "$path/$part/$file")" ] || cat "$path/$file" >"$path/$part/$file"
        done
        path=$path/$part
      done
    fi
    [ ! -e "$dir/cpu.cfs_quota_us" ] || awk -v c="$CPUS" 'BEGIN { printf "%d\n", c * 100000 }' >"$dir/cpu.cfs_quota_us"
    [ ! -e "$dir/memory.limit_in_bytes" ] || echo $((MEMORY_MIB * 1048576)) >"$dir/memory.limit_in_bytes"
    [ ! -e "$dir/cpu.max" ] || awk -v c="$CPUS" 'BEGIN { printf "%d 100000\n", c * 100000 }' >"$dir/cpu.max"
    [ ! -e "$dir/memory.max" ] || echo $((MEMORY_MIB * 1048576)) >"$dir/memory.max"
  done < <(cgroup_dirs "$LAB_ID" "$NAME")
}

start_machine() {
  local dir
  # Short, since ssh's and containerd's sockets live below it.
  local options=(
    --quiet --boot --keep-unit --register=no "--machine=$LAB_ID-$NAME" "--hostname=$NAME"
    "--directory=$DIR/root" "--network-namespace-path=/run/netns/$NETNS"
    --capability=all --system-call-filter=@known --resolv-conf=off --timezone=off --link-journal=no
    --console=pipe --kill-signal=SIGRTMIN+3
    --bind=/dev/kmsg "--bind-ro=$DIR/caps:/run/host/caps"
  )
  # Container runtimes put overlays there, and the root is one: those don't nest.
  for dir in "$DIR"/data/*; do options+=("--bind=$dir:/var/lib/$(basename "$dir")"); done
  [ ! -e /dev/net/tun ] || options+=(--bind=/dev/net/tun)
  [ ! -e /dev/fuse ] || options+=(--bind=/dev/fuse)
  export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_LOCK=0
  if [ "$(cgroup_version)" = 2 ] && [ -d /run/systemd/system ]; then
    systemd-run --quiet --collect --unit="litelab-$LAB_ID-$NAME" --slice=litelab.slice -p Delegate=yes -p KillMode=mixed \
      -p CPUQuota="$(awk -v c="$CPUS" 'BEGIN { printf "%d%%", c * 100 }')" -p MemoryMax="${MEMORY_MIB}M" -p TasksMax=infinity \
      -p StandardOutput="file:$DIR/console.log" -p StandardError="file:$DIR/console.log" \
      -E SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 -E SYSTEMD_NSPAWN_LOCK=0 systemd-nspawn "${options[@]}"
    systemctl show -p MainPID --value "litelab-$LAB_ID-$NAME" >"$RECORD/$NAME.pid"
    return
  fi
  make_cgroups
  (
    while read -r dir; do echo "$BASHPID" >"$dir/cgroup.procs"; done < <(cgroup_dirs "$LAB_ID" "$NAME")
    exec setsid systemd-nspawn "${options[@]}" </dev/null >"$DIR/console.log" 2>&1 8>&- 9>&-
  ) &
  # setsid of a group leader forks; of this subshell it does not, so the id is nspawn's own.
  printf '%s\n' "$!" >"$RECORD/$NAME.pid"
}

# The end of the machine's console, for an error.
last_words() {
  local text
  text=$(tail -n 5 "$DIR/console.log" 2>/dev/null | tr '\n' ' ')
  printf 'Last lines of %s: %s' "$DIR/console.log" "${text:-none. }"
}

wait_for_ssh() {
  local deadline=$((SECONDS + ${SSH_TIMEOUT_S:-60})) pid last=''
  pid=$(cat "$RECORD/$NAME.pid")
  while [ "$SECONDS" -lt "$deadline" ]; do
    kill -0 "$pid" 2>/dev/null || die "host $NAME: its machine ended while it booted. $(last_words)If they show no other cause, the root image is damaged: 'make setup' makes it again when a file of it has another size than before; otherwise 'rm -rf $(readlink -f "$ROOT_IMAGE")' first. Then run the same command again."
    # A closed port answers at once; ssh itself is tried when it opens.
    if (exec 3<>"/dev/tcp/$PREFIX.$ADDRESS/22") 2>/dev/null; then
      last=$(ssh -F "$RUN/ssh_config" "$NAME" true </dev/null 2>&1) && return 0
    fi
    sleep 0.05
  done
  die "host $NAME: waited ${SSH_TIMEOUT_S:-60} s for ssh at $PREFIX.$ADDRESS. Last answer: ${last:-no connection}. $(last_words)Run the same command again, and the host is made anew; on a machine that is very busy, SSH_TIMEOUT_S=300 before it waits longer."
}

create() {
  host_names
  host_lock "$NAME"
  [ -x "$ROOT_IMAGE/usr/lib/systemd/systemd" ] || die "host $NAME: $ROOT_IMAGE is not a root image (it has no systemd). Run 'make setup', which makes it again."
  [ -r "$RUN/id_ed25519.pub" ] || die "host $NAME: $RUN/id_ed25519.pub is missing, the key to log in with. Run 'make destroy STACK=$STACK', then 'make lab STACK=$STACK'."
  remove # what a killed create left
  mkdir -p "$DIR"/{upper,work,root} "$DIR"/data/{containerd,containers,k0s,kubelet,rancher}
  chmod 755 "$DIR" "$DIR/upper" "$DIR/root"
  root_files
  ssh_files
  capped_proc
  mount -t overlay -o "lowerdir=$(readlink -f "$ROOT_IMAGE"),upperdir=$DIR/upper,workdir=$DIR/work" "litelab-$LAB_ID" "$DIR/root"
  make_network
  start_machine
  wait_for_ssh
  step_done host "$NAME"
  # Which machine this is: what was installed on another one of the same name is not on this one.
  printf '{"identity":"%s-%s","hostKey":"%s"}\n' "$NAME" "$(date +%s%N)" "$(cut -d' ' -f2,3 "$RUN/ssh/$NAME")"
}

# remove: ends and deletes what host.sh made, whatever of it there is. Every end is bounded.
remove() {
  local pid dir p n
  pid=$(cat "$RECORD/$NAME.pid" 2>/dev/null || true)
  if [ "$(cgroup_version)" = 2 ] && [ -d /run/systemd/system ]; then
    systemctl stop "litelab-$LAB_ID-$NAME" 2>/dev/null || true
  elif [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = systemd-nspawn ]; then
    # The machine holds nothing worth an orderly shutdown.
    kill -KILL "$pid" 2>/dev/null || true
  fi
  # Whatever is in the host's cgroups is the host's: pods too, and what lost its parent.
  for n in $(seq 100); do
    p=$(cgroup_dirs "$LAB_ID" "$NAME" | while read -r dir; do [ ! -d "$dir" ] || find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null; done | sort -un)
    [ -n "$p" ] || break
    # shellcheck disable=SC2086
    kill -KILL $p 2>/dev/null || true
    sleep 0.05
  done
  rm -f "$RECORD/$NAME.pid"
  ip -n "$LAB_NS" link del "$NAME" 2>/dev/null || true
  ip netns del "$NETNS" 2>/dev/null || true
  # Deepest first; a mount that is busy is detached, and goes with its last user.
  awk -v d="$DIR/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r dir; do
    umount "$dir" 2>/dev/null || umount -l "$dir" 2>/dev/null || true
  done
  cgroup_dirs "$LAB_ID" "$NAME" | while read -r dir; do
    [ ! -d "$dir" ] || find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true
    rmdir "$(dirname "$dir")" 2>/dev/null || true
    rmdir "$(dirname "$(dirname "$dir")")" 2>/dev/null || true
  done
  rm -rf --one-file-system "$DIR"
}

delete() {
  load_lab || return 0
  host_names
  host_lock "$NAME"
  remove
  rm -f "$RUN/hosts/$NAME.lock" "$RUN/ssh/$NAME"
  [ ! -d "$RUN/ssh" ] || ssh_files
  local left=''
  [ ! -e "$DIR" ] || left="$left $DIR"
  [ ! -e "/run/netns/$NETNS" ] || left="$left netns:$NETNS"
  while read -r dir; do [ ! -d "$dir" ] || left="$left $dir"; done < <(cgroup_dirs "$LAB_ID" "$NAME")
  [ -z "$left" ] || die "host $NAME: could not remove$left. A process may still use it: 'fuser -vm $DIR' names it; then run destroy again."
}

case ${1:-} in
create | delete) "$1" ;;
*) die "usage: host.sh create|delete NAME" ;;
esac
