#!/usr/bin/env bash
# network.sh create|delete|start|restore: the lab's subnet, its namespace with the bridge, and one filtered way to the operator.
# Prints the first three numbers of the lab's /24: .1-.126 are hosts (gateway .1), .254 is the operator.
# restore can bring nothing back, for the hosts' disks were in the run folder: it says so and ends with 3, or names the folder that has
# them. Standard input is then {"stdout": the prefix, ...}, from the state.
# Environment: SUBNET (empty: choose), INTERNET (true or false).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = restore ] || need_root

sysctl_wanted='vm.overcommit_memory=1 kernel.panic=10 kernel.panic_on_oops=1 kernel.keys.root_maxkeys=1000000 kernel.keys.root_maxbytes=25000000'

set_sysctl() { { printf '%s\n' "$2" >"/proc/sys/${1//.//}"; } 2>/dev/null; }

# Kubelets set these through the hosts' writable /proc/sys; three systemd need more inotify instances than the default.
raise_sysctls() {
  local pair key value now known
  [ -e "$REGISTRY/sysctls" ] || : >"$REGISTRY/sysctls"
  known=$'\n'$(<"$REGISTRY/sysctls")
  for pair in $sysctl_wanted fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=524288; do
    key=${pair%%=*} value=${pair#*=}
    { read -r now <"/proc/sys/${key//.//}"; } 2>/dev/null || continue
    case $key in fs.inotify.*) [ "$now" -lt "$value" ] || continue ;; esac
    [[ $known == *$'\n'"$key="* ]] || printf '%s=%s\n' "$key" "$now" >>"$REGISTRY/sysctls"
    [ "$now" = "$value" ] || set_sysctl "$key" "$value" || say "warning: could not set $key to $value; kubelets may do it"
  done
}

restore_sysctls() {
  [ -e "$REGISTRY/sysctls" ] && [ -z "$(ls -A "$REGISTRY/labs")" ] || return 0
  local pair
  while read -r pair; do set_sysctl "${pair%%=*}" "${pair#*=}" || say "could not restore $pair"; done <"$REGISTRY/sysctls"
  rm -f "$REGISTRY/sysctls"
}

# choose_prefix: one that nothing of this machine and no other lab uses. What has the lab's own link is left of a killed create.
choose_prefix() {
  local other taken=''
  for other in "$REGISTRY"/labs/*/prefix; do
    [ ! -e "$other" ] || [ "$other" = "$REGISTRY/labs/$LAB_ID/prefix" ] || taken=$taken,$(<"$other")
  done
  python3 -I "$here/subnet.py" choose "$LAB_ID" "$(uplink_of "$LAB_ID")" "$taken" "${SUBNET:-}"
}

undo() {
  local code=$?
  machine_unlock
  (delete) || true
  exit "$code"
}

# new_id: of the stack's name and the checkout's path. A lab that was made here and moved keeps its own.
new_id() {
  local checkout n id
  checkout=$(cd "$RUN/../../.." && pwd -P)
  for n in '' 2 3 4 5 6 7 8 9; do
    id=$STACK-$(printf %s "$checkout$n" | sha256sum | cut -c1-6)
    if [ ! -e "$REGISTRY/labs/$id" ] || is_run_of "$REGISTRY/labs/$id"; then
      echo "$id"
      return
    fi
  done
  die "the names of nine labs that were made in $checkout and moved are in use. 'make destroy' them where they are now; 'make orphans' lists them."
}

create() {
  # A half-made network would be known to no state: nothing of it stays.
  trap undo EXIT
  if load_lab && [ -s "$REGISTRY/labs/$LAB_ID/prefix" ] && [ -n "$PREFIX" ]; then
    # A second create after a killed one: same lab, same subnet.
    :
  else
    machine_lock
    [ -n "$LAB_ID" ] || LAB_ID=$(new_id)
    RECORD=$REGISTRY/labs/$LAB_ID
    PREFIX=$(choose_prefix)
    mkdir -p "$RECORD"
    printf '%s\n' "$PREFIX" >"$RECORD/prefix"
    note_run
    raise_sysctls
    machine_unlock
  fi
  printf 'LAB_ID=%s\nPREFIX=%s\nUPLINK=%s\n' "$LAB_ID" "$PREFIX" "$(uplink_of "$LAB_ID")" >"$RUN/lab.env.new"
  mv "$RUN/lab.env.new" "$RUN/lab.env"
  load_lab
  printf '%s\n' "$PATIENCE" >"$RUN/patience"
  links
  step_done network lab
  trap - EXIT
  printf '%s\n' "$PREFIX"
}

# start: the network of a lab that a restart of this machine took away, again with the same addresses. It keeps the hosts' disks
# whatever happens.
start() {
  load_lab || die "$RUN/lab.env is gone, so the lab's addresses are not known any more. 'make destroy STACK=$STACK', then 'make lab STACK=$STACK'."
  machine_lock
  if [ ! -e "$RECORD/prefix" ]; then
    ip link del "$UPLINK" 2>/dev/null || true
    SUBNET=$PREFIX.0/24 choose_prefix >/dev/null || die "the lab's subnet $PREFIX.0/24 is now in use on this machine. Free it and run the same command again, or make the lab again: 'make destroy STACK=$STACK', then 'make lab STACK=$STACK'."
    mkdir -p "$RECORD"
    printf '%s\n' "$PREFIX" >"$RECORD/prefix"
    note_run
  fi
  raise_sysctls
  machine_unlock
  links
}

links() {
  local priority
  clear_links
  ip netns add "$LAB_NS"
  ip link add "$UPLINK" type veth peer name uplink netns "$LAB_NS"
  ip -n "$LAB_NS" -batch - <<BATCH
link set lo up
link add br0 type bridge forward_delay 0
addr add $PREFIX.1/25 dev br0
link set br0 up
addr add $PREFIX.253/30 dev uplink
link set uplink up
BATCH
  ip addr add "$PREFIX.254/30" dev "$UPLINK"
  ip link set "$UPLINK" up
  ip route replace "$PREFIX.0/25" via "$PREFIX.253" dev "$UPLINK" src "$PREFIX.254"
  # A VPN's rules may send everything to a table of its own.
  priority=$(python3 -I "$here/subnet.py" rule "$PREFIX")
  [ -z "$priority" ] || ip rule add pref "$priority" to "$PREFIX.0/24" lookup main
  ip netns exec "$LAB_NS" bash -euc '
    sysctl -q -w net.ipv4.ip_forward=1
    # Frames between hosts are the hosts own affair: the filter below is for what leaves the lab.
    [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || sysctl -q -w net.bridge.bridge-nf-call-iptables=0
    nft -f -' <<NFT
table inet litelab {
  set operator {
    type ipv4_addr
    elements = { $PREFIX.254 }
  }
  set inside {
    type ipv4_addr
    flags interval
    auto-merge
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "uplink" oifname "br0" ip saddr @operator accept
    iifname "br0" oifname "br0" accept
    # The way out is for what is outside: not for this machine's own addresses, nor for other labs.
    oifname "tap0" ip daddr @inside drop
    iifname "br0" oifname "tap0" accept
  }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname "lo" accept
    meta l4proto { icmp, icmpv6 } accept
  }
  chain outward {
    type nat hook postrouting priority 100;
    oifname "tap0" masquerade
  }
}
NFT
  [ "${INTERNET:-false}" != true ] || open_internet
}

# User-space NAT: neither ip_forward nor a firewall of the machine is touched.
open_internet() {
  command -v slirp4netns >/dev/null || die "hosts.internet: true needs slirp4netns, which is not installed: apt-get install slirp4netns."
  local inside
  inside=$(ip -4 -o addr show | awk '{ sub(/\/.*/, "", $4); printf "%s, ", $4 }')
  ip netns exec "$LAB_NS" nft add element inet litelab inside "{ ${inside}10.87.0.0/16, 10.139.0.0/16, 172.29.0.0/16, 127.0.0.0/8, 169.254.0.0/16 }"
  setsid slirp4netns --configure --mtu=1500 --disable-host-loopback --netns-type=path "/run/netns/$LAB_NS" tap0 >"$RUN/slirp4netns.log" 2>&1 9>&- </dev/null &
  printf '%s\n' "$!" >"$RECORD/slirp4netns.pid"
  for _ in $(seq $((50 * PATIENCE))); do
    ip -n "$LAB_NS" link show tap0 >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  die "slirp4netns did not make the lab's way out within $((5 * PATIENCE)) s: $(tail -n 3 "$RUN/slirp4netns.log" | tr '\n' ' ')"
}

clear_links() {
  if [ -s "$RECORD/slirp4netns.pid" ]; then
    local pid
    read -r pid <"$RECORD/slirp4netns.pid"
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != slirp4netns ] || kill "$pid" || true
  fi
  while [ -n "$PREFIX" ] && ip rule del to "$PREFIX.0/24" lookup main 2>/dev/null; do :; done
  ip link del "$UPLINK" 2>/dev/null || true
  ip netns del "$LAB_NS" 2>/dev/null || true
}

delete() {
  local left
  load_lab || {
    machine_lock
    leave_registry
    return 0
  }
  # A host whose create failed is in no state, and only here.
  for left in "$RUN"/hosts/*/; do
    [ ! -d "$left" ] || "$here/host.sh" delete "$(basename "$left")" </dev/null
  done
  clear_links
  machine_lock
  # Not with all that is below: a host's disk may still be mounted there.
  find "$RECORD" -maxdepth 1 -type f -delete 2>/dev/null || true
  rmdir "$RECORD"/*/ "$RECORD" 2>/dev/null || true
  restore_sysctls
  leave_registry
  rm -rf "$RUN/ssh"
  rm -f "$RUN/lab.env" "$RUN/patience" "$RUN/ssh_config" "$RUN/known_hosts" "$RUN/steps.jsonl" "$RUN/slirp4netns.log"
  rmdir "$RUN/hosts" 2>/dev/null || true
  if [ -e "/run/netns/$LAB_NS" ] || ip link show "$UPLINK" >/dev/null 2>&1; then
    die "destroy could not remove the namespace $LAB_NS or the link $UPLINK; 'ip netns del $LAB_NS' says why."
  fi
}

# leave_registry: the lock is given back, and with the last lab the machine's list goes.
leave_registry() {
  if rmdir "$REGISTRY/labs" 2>/dev/null; then
    # Empty by now; systemd keeps an empty slice.
    [ ! -d /run/systemd/system ] || systemctl stop litelab.slice 2>/dev/null || true
    rm -f "$REGISTRY/lock"
    rmdir "$REGISTRY" 2>/dev/null || true
  fi
  machine_unlock
}

restore() {
  local dir other='' prefix
  prefix=$(python3 -I -c 'import json, sys; print(json.load(sys.stdin)["stdout"].strip())')
  for dir in "$REGISTRY/labs/$STACK"-??????/; do
    [ "$(cat "$dir/prefix" 2>/dev/null)" = "$prefix" ] || continue
    other=$(cat "$dir/run" 2>/dev/null || true)
    [ "$other" = "$RUN" ] || [ ! -e "$other/lab.env" ] ||
      die "its hosts are on this machine, and their disks are in $other: it was made from the checkout ${other%/.lab/run/*}. Run the same command there. Nothing was changed."
  done
  say "its nspawn hosts had their disks in $RUN, which are not there any more, so the lab is gone with them. If it was made on another machine or from another checkout, run the same command there. Otherwise 'make destroy STACK=$STACK' removes what is left of it, and 'make lab STACK=$STACK' makes it again."
  exit 3
}

case ${1:-} in
create | delete | start | restore) "$1" ;;
*) die "usage: network.sh create|delete|start|restore" ;;
esac
