#!/usr/bin/env bash
# host.sh create|delete NAME: one systemd-nspawn machine, from nothing to an ssh login with a verified host key.
# host.sh start NAME: starts a machine that ended, or that a restart of this machine took away, again from its own disk.
# Prints {"identity": new for every machine made, "hostKey": its public ssh key}.
# Environment: ADDRESS (last number of the address), CPUS, MEMORY_MIB, INTERNET.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$(dirname "$0")/lab.sh"
need_root
umask 022

NAME=${2:?usage: host.sh create|delete|start NAME}
DIR=$RUN/hosts/$NAME
ROOT_IMAGE=${LITELAB_CACHE:-$RUN/../../../.cache}/rootfs/current

host_names() {
  load_lab || die "host $NAME: $RUN/lab.env is missing, so the lab's network was never made. Run 'make lab STACK=$STACK' again."
  NETNS=$LAB_NS-$NAME
  # The machine's own name for the host's folder. It follows the folder when the checkout is moved, and is short and plain.
  PLACE=$RECORD/$NAME
}

# mount_root: the host's folder at its place, and its root there.
mount_root() {
  mkdir -p "$DIR/root" "$PLACE"
  mount --bind "$DIR" "$PLACE"
  mount --make-private "$PLACE"
  mount -t overlay -o "lowerdir=$(readlink -f "$ROOT_IMAGE"),upperdir=$PLACE/upper,workdir=$PLACE/work" "litelab-$LAB_ID" "$PLACE/root"
}

# The machine's caps, as its programs see them. Kubelets read /proc and /sys, which show the whole machine.
capped_proc() {
  local n last=$((${CPUS:?} - 1)) online topologies=()
  online=0-$last
  [ "$last" -gt 0 ] || online=0
  awk -v want="$CPUS" 'BEGIN { RS = ""; ORS = "\n\n" } NR <= want' /proc/cpuinfo >"$DIR/caps/cpuinfo"
  awk -v kib=$((MEMORY_MIB * 1024)) '
    $1 == "MemTotal:" { print "MemTotal:       " kib " kB"; next }
    $1 == "MemFree:" || $1 == "MemAvailable:" { if ($2 > kib) $2 = kib; print $1 "       " $2 " kB"; next }
    $1 ~ /^Swap(Total|Free|Cached):$/ { print $1 "       0 kB"; next }
    { print }' /proc/meminfo >"$DIR/caps/meminfo"
  for ((n = 0; n <= last; n++)); do topologies+=("cpu$n/topology"); done
  (cd /sys/devices/system/cpu && cp -r --parents "${topologies[@]}" "$DIR/caps/cpu") 2>/dev/null || true
  for n in online possible present; do echo "$online" >"$DIR/caps/cpu/$n"; done
}

# What makes this machine itself, in its own layer over the shared read-only root. Whatever the shell can do by itself it does:
# on small machines what three hosts fork is what a lab waits for.
root_files() {
  local upper=$DIR/upper units=$DIR/upper/etc/systemd/system n id type key
  printf '%s\n' "$NAME" >"$upper/etc/hostname"
  read -r id </proc/sys/kernel/random/uuid
  printf '%s\n' "${id//-/}" >"$upper/etc/machine-id"
  {
    printf '127.0.0.1 localhost\n'
    # All that the subnet has room for: a host more changes no other host.
    for ((n = 1; n <= 115; n++)); do printf '%s.%d host-%d\n' "$PREFIX" $((n + 10)) "$n"; done
  } >"$upper/etc/hosts"
  # A nameserver that is not loopback: K3s and others would replace that by a public one.
  if [ "${INTERNET:-false}" = true ]; then echo "nameserver 10.0.2.3"; else echo "nameserver $PREFIX.1"; fi >"$upper/etc/resolv.conf"
  ssh-keygen -q -t ed25519 -N '' -C "$NAME" -f "$upper/etc/ssh/ssh_host_ed25519_key" </dev/null
  read -r type key _ <"$upper/etc/ssh/ssh_host_ed25519_key.pub"
  HOST_KEY="$type $key"
  printf '%s\n' "Address $PREFIX.$ADDRESS" 'Identity id_ed25519' "HostKey $HOST_KEY" "ConnectS $((5 * PATIENCE))" >"$RUN/ssh/.$NAME.new"
  mv "$RUN/ssh/.$NAME.new" "$RUN/ssh/$NAME"
  unshare "$NAME"
  printf '%s\n' 'HostKey /etc/ssh/ssh_host_ed25519_key' 'PasswordAuthentication no' 'KbdInteractiveAuthentication no' \
    'PermitRootLogin prohibit-password' 'UsePAM no' 'UseDNS no' 'PrintMotd no' 'MaxStartups 100' 'MaxSessions 100' \
    'Subsystem sftp internal-sftp' >"$upper/etc/ssh/sshd_config"
  # From 9.8 on sshd shuts out an address after a few connections without a login, and looking whether its port is open makes some.
  # Older ones refuse the word; the program beside sshd came with it.
  [ ! -e "$ROOT_IMAGE/usr/lib/openssh/sshd-session" ] || echo 'PerSourcePenalties no' >>"$upper/etc/ssh/sshd_config"
  read -r key <"$RUN/id_ed25519.pub"
  (umask 077 && printf '%s\n' "$key" >"$upper/root/.ssh/authorized_keys")
  printf '[Manager]\nDefaultTimeoutStopSec=10s\nDefaultTimeoutStartSec=%ss\n' $((90 * PATIENCE)) >"$upper/etc/systemd/system.conf.d/litelab.conf"
  printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n' >"$upper/etc/systemd/journald.conf.d/litelab.conf"
  printf '%s\n' '[Unit]' 'Description=Prepare a container for kubelets: shared mounts, writable cgroups, caps as seen in /proc and /sys' \
    'DefaultDependencies=no' 'Before=sysinit.target' '[Service]' 'Type=oneshot' 'RemainAfterExit=yes' \
    'ExecStart=/usr/local/sbin/litelab-boot' >"$units/litelab-boot.service"
  ln -s ../litelab-boot.service "$units/sysinit.target.wants/"
  install -m 755 "$here/boot.sh" "$upper/usr/local/sbin/litelab-boot"
  # Steps on the host wait as long as those here.
  [ "$PATIENCE" -eq 1 ] || { mkdir -p "$upper/etc/litelab" && printf '%s\n' "$PATIENCE" >"$upper/etc/litelab/patience"; }
  # Masked: to systemd an empty file is what a link to /dev/null is.
  for n in systemd-networkd.service systemd-resolved.service systemd-timesyncd.service apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-networkd-wait-online.service \
    console-getty.service getty.target; do
    : >"$units/$n"
  done
}

make_network() {
  ip netns add "$NETNS"
  ip -n "$LAB_NS" -batch - <<BATCH
link add $NAME type veth peer name eth0 netns $NETNS
link set $NAME master br0 up
BATCH
  ip -n "$NETNS" -batch - <<BATCH
link set lo up
addr add $PREFIX.$ADDRESS/25 brd + dev eth0
link set eth0 up
route add default via $PREFIX.1
BATCH
}

make_cgroups() { # v1, or v2 without systemd: made by hand; with systemd its own unit makes and caps it
  local dir path part file set
  cgroups "$LAB_ID" "$NAME"
  mkdir -p "${CGROUPS[@]}"
  # On v2 a group has the controllers that each one above it hands down.
  if [ "$CGROUP_VERSION" = 2 ]; then
    for path in "" /litelab "/litelab/$LAB_ID"; do
      { echo '+cpu +memory +pids' >"/sys/fs/cgroup$path/cgroup.subtree_control"; } 2>/dev/null || true
    done
    [ -e "${CGROUPS[0]}/memory.max" ] || die "host $NAME: cgroup v2 hands no memory controller down to $(dirname "${CGROUPS[0]}"), so the host can't be capped. In a container, start that with its cgroups delegated: 'docker run --privileged --cgroupns=host'."
  fi
  for dir in "${CGROUPS[@]}"; do
    # A cpuset takes no process before it has processors and memory nodes, from the top down.
    if [ -e "$dir/cpuset.cpus" ] && [ "$CGROUP_VERSION" = 1 ]; then
      path=${dir%%/litelab/*}
      for part in litelab "$LAB_ID" "$NAME"; do
        for file in cpuset.cpus cpuset.mems; do
          set=''
          read -r set <"$path/$part/$file" || true
          [ -n "$set" ] || { read -r set <"$path/$file" && echo "$set" >"$path/$part/$file"; }
        done
        path=$path/$part
      done
    fi
    [ ! -e "$dir/cpu.cfs_quota_us" ] || echo $((CPUS * 100000)) >"$dir/cpu.cfs_quota_us"
    [ ! -e "$dir/memory.limit_in_bytes" ] || echo $((MEMORY_MIB * 1048576)) >"$dir/memory.limit_in_bytes"
    [ ! -e "$dir/cpu.max" ] || echo "$((CPUS * 100000)) 100000" >"$dir/cpu.max"
    [ ! -e "$dir/memory.max" ] || echo $((MEMORY_MIB * 1048576)) >"$dir/memory.max"
    no_swap "$dir"
  done
}

# no_swap CGROUP: its processes are not swapped, as far as the kernel allows that: figures would be those of the machine's disk.
no_swap() {
  local file value
  for file in memory.swap.max=0 memory.memsw.limit_in_bytes=$((MEMORY_MIB * 1048576)) memory.swappiness=0; do
    value=${file#*=} file=$1/${file%%=*}
    [ ! -e "$file" ] || { echo "$value" >"$file"; } 2>/dev/null || true
  done
}

start_machine() {
  local dir
  # Short, since ssh's and containerd's sockets live below it.
  local options=(
    --quiet --boot --keep-unit --register=no "--machine=$LAB_ID-$NAME" "--hostname=$NAME"
    "--directory=$PLACE/root" "--network-namespace-path=/run/netns/$NETNS"
    --capability=all --system-call-filter=@known --resolv-conf=off --timezone=off --link-journal=no
    --console=pipe --kill-signal=SIGRTMIN+3
    --bind=/dev/kmsg "--bind-ro=$PLACE/caps:/run/host/caps"
  )
  # Container runtimes put overlays there, and the root is one: those don't nest.
  for dir in "$PLACE"/data/*; do options+=("--bind=$dir:/var/lib/${dir##*/}"); done
  [ ! -e /dev/net/tun ] || options+=(--bind=/dev/net/tun)
  [ ! -e /dev/fuse ] || options+=(--bind=/dev/fuse)
  export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_LOCK=0
  if $BY_UNIT; then
    systemd-run --quiet --collect --unit="litelab-$LAB_ID-$NAME" --slice=litelab.slice -p Delegate=yes -p KillMode=mixed \
      -p CPUQuota="$((CPUS * 100))%" -p MemoryMax="${MEMORY_MIB}M" -p MemorySwapMax=0 -p TasksMax=infinity \
      -p StandardOutput="append:$PLACE/console.log" -p StandardError="append:$PLACE/console.log" \
      -p RestartForceExitStatus=133 -p SuccessExitStatus=133 \
      -E SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 -E SYSTEMD_NSPAWN_LOCK=0 systemd-nspawn "${options[@]}"
    systemctl show -p MainPID --value "litelab-$LAB_ID-$NAME" >"$RECORD/$NAME.pid"
    return
  fi
  make_cgroups
  setsid "$here/machine.sh" "${CGROUPS[@]}" -- "${options[@]}" </dev/null >>"$DIR/console.log" 2>&1 8>&- 9>&- &
  # setsid of a group leader forks; of a shell's child it does not, so the id is machine.sh's own.
  printf '%s\n' "$!" >"$RECORD/$NAME.pid"
}

# The end of the machine's console, for an error.
last_words() {
  local text
  text=$(tail -n 5 "$DIR/console.log" 2>/dev/null | tr '\n' ' ')
  printf 'Last lines of %s: %s' "$DIR/console.log" "${text:-none. }"
}

wait_for_ssh() {
  local limit=${SSH_TIMEOUT_S:-$((60 * PATIENCE))} deadline pid last=''
  deadline=$((SECONDS + limit))
  pid=$(cat "$RECORD/$NAME.pid")
  # Waits without a fork: reading what nobody writes.
  exec 6<> <(:)
  while [ "$SECONDS" -lt "$deadline" ]; do
    kill -0 "$pid" 2>/dev/null || die "host $NAME: its machine ended while it booted. $(last_words)If they show no other cause, the root image is damaged: 'make setup' makes it again when a file of it has another size than before; otherwise 'rm -rf $(readlink -f "$ROOT_IMAGE")' first. Then run the same command again."
    # A closed port answers at once; ssh itself is tried when it opens.
    if { : 3<>"/dev/tcp/$PREFIX.$ADDRESS/22"; } 2>/dev/null; then
      last=$(ssh -F "$RUN/ssh_config" "$NAME" true </dev/null 2>&1) && return 0
    fi
    read -r -t 0.05 -u 6 || true
  done
  die "host $NAME: waited $limit s for ssh at $PREFIX.$ADDRESS. Last answer: ${last:-no connection}. $(last_words)Run the same command again, and the host is replaced; on a machine that is very busy, SSH_TIMEOUT_S=300 before it waits longer."
}

create() {
  host_names
  host_lock "$NAME"
  [ -x "$ROOT_IMAGE/usr/lib/systemd/systemd" ] || die "host $NAME: $ROOT_IMAGE is not a root image (it has no systemd). Run 'make setup', which makes it again."
  [ -r "$RUN/id_ed25519.pub" ] || die "host $NAME: $RUN/id_ed25519.pub is missing, the key to log in with. Run 'make destroy STACK=$STACK', then 'make lab STACK=$STACK'."
  # What a killed create left, whose folder is the first thing made and the last removed.
  if [ -e "$DIR" ] || [ -e "$RECORD/$NAME.pid" ] || [ -e "/run/netns/$NETNS" ]; then remove; fi
  mkdir -p "$RUN/ssh" "$DIR"/{work,root,caps/cpu,caps/node} "$DIR"/data/{containerd,containers,k0s,kubelet,rancher} \
    "$DIR"/upper/{root/.ssh,usr/local/sbin,etc/ssh,etc/systemd/{system.conf.d,journald.conf.d,system/sysinit.target.wants}}
  chmod 700 "$DIR/upper/root" "$DIR/upper/root/.ssh"
  root_files
  ssh_write
  capped_proc
  mount_root
  make_network
  start_machine
  wait_for_ssh
  step_done host "$NAME"
  # Which machine this is: what was installed on another one of the same name is not on this one.
  printf '{"identity":"%s-%s","hostKey":"%s"}\n' "$NAME" "$(date +%s%N)" "$HOST_KEY"
}

# start: the same machine again, with all that is on its disk; its identity stays.
start() {
  host_names
  host_lock "$NAME"
  [ -s "$DIR/upper/etc/machine-id" ] || die "host $NAME: its disk $DIR is gone, so it can't be started again. 'make lab STACK=$STACK' replaces it."
  [ -x "$ROOT_IMAGE/usr/lib/systemd/systemd" ] || die "host $NAME: $ROOT_IMAGE is not a root image (it has no systemd). Run 'make setup', which makes it again."
  halt
  mount_root
  make_network
  start_machine
  wait_for_ssh
}

# remove: ends and deletes what host.sh made, whatever of it there is.
remove() {
  halt
  rm -rf --one-file-system "$DIR"
}

# halt: ends the machine and all that it has on this one, but its disk. Every end is bounded.
halt() {
  local pid='' dir p n
  cgroups "$LAB_ID" "$NAME"
  { read -r pid <"$RECORD/$NAME.pid"; } 2>/dev/null || true
  if $BY_UNIT; then
    systemctl stop "litelab-$LAB_ID-$NAME" 2>/dev/null || true
  elif [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "--machine=$LAB_ID-$NAME "; then
    # First who would start it again. The machine holds nothing worth an orderly shutdown.
    kill -KILL "$pid" 2>/dev/null || true
  fi
  # What is frozen does not end.
  for dir in "${CGROUPS[@]}"; do
    [ ! -e "$dir/freezer.state" ] || find "$dir" -name freezer.state -exec sh -c 'echo THAWED >"$0"' {} \; 2>/dev/null || true
  done
  # Whatever is in the host's cgroups is the host's: pods too, and what lost its parent.
  for ((n = 0; n < 100; n++)); do
    p=$({ find "${CGROUPS[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null || true; } | sort -un)
    [ -n "$p" ] || break
    # shellcheck disable=SC2086
    kill -KILL $p 2>/dev/null || true
    sleep 0.05
  done
  rm -f "$RECORD/$NAME.pid"
  ip -n "$LAB_NS" link del "$NAME" 2>/dev/null || true
  ip netns del "$NETNS" 2>/dev/null || true
  # Deepest first; a mount that is busy is detached, and goes with its last user.
  awk -v d="$PLACE" '$5 == d || index($5, d "/") == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r dir; do
    umount "$dir" 2>/dev/null || umount -l "$dir" 2>/dev/null || true
  done
  rmdir "$PLACE" 2>/dev/null || true
  # Its own, deepest first, then those above that no other host has any more.
  find "${CGROUPS[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || true
  rmdir "${CGROUPS[@]%/*}" 2>/dev/null || true
  rmdir "${CGROUPS[@]%/*/*}" 2>/dev/null || true
}

delete() {
  load_lab || return 0
  host_names
  host_lock "$NAME"
  remove
  rm -f "$RUN/hosts/$NAME.lock"
  ssh_forget "$NAME"
  local left='' dir
  [ ! -e "$DIR" ] || left="$left $DIR"
  [ ! -e "/run/netns/$NETNS" ] || left="$left netns:$NETNS"
  [ ! -e "$PLACE" ] || left="$left $PLACE"
  for dir in "${CGROUPS[@]}"; do [ ! -d "$dir" ] || left="$left $dir"; done
  [ -z "$left" ] || die "host $NAME: could not remove$left. A process may still use it: 'fuser -vm $DIR' names it; then run destroy again."
}

case ${1:-} in
create | delete | start) "$1" ;;
*) die "usage: host.sh create|delete|start NAME" ;;
esac
