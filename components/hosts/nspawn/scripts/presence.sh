#!/usr/bin/env bash
# presence.sh look|start network|host-N: whether that part of a lab is there, as "STATE REASON", and starts again what only ended.
# States: running; off (it can be started again and loses nothing); gone (its disk too); unreachable.
# Environment: LITELAB_RUN, the lab's run folder, and what network.sh and host.sh take.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$(dirname "$0")/lab.sh"
NAME=${2:?usage: presence.sh look|start network|host-N}

# restarted: when this machine started, if that was after the lab was made.
restarted() {
  local key at=0 made
  while read -r key at _; do [ "$key" != btime ] || break; done </proc/stat
  made=$(stat -c %Y "$RUN/lab.env")
  [ "$at" -gt "$made" ] && date -u -d "@$at" '+this machine restarted at %Y-%m-%d %H:%M:%S UTC'
}

# why_off OTHER: the restart of this machine, else OTHER.
why_off() { restarted || echo "$1"; }

look_network() {
  local pid=''
  if [ ! -e "/run/netns/$LAB_NS" ]; then
    echo "off $(why_off "its network namespace $LAB_NS is gone")"
  elif [ ! -e "/sys/class/net/$UPLINK" ]; then
    echo "off $(why_off "its link $UPLINK is gone")"
  elif [ ! -e "$RECORD/prefix" ]; then
    echo "off $(why_off "its entry in $REGISTRY is gone")"
  elif [ "${INTERNET:-false}" = true ] && ! { read -r pid <"$RECORD/slirp4netns.pid" && grep -qs slirp4netns "/proc/$pid/comm"; }; then
    echo "off slirp4netns, its way out, has ended"
  else
    echo running
  fi
}

look_host() {
  local dir=$RUN/hosts/$NAME said words pid=''
  # Its key proves which host answers.
  said=$(timeout $((20 * PATIENCE)) ssh -F "$RUN/ssh_config" -o ConnectTimeout=$((5 * PATIENCE)) "$NAME" true </dev/null 2>&1) && echo running && return
  { read -r pid <"$RECORD/$NAME.pid"; } 2>/dev/null || true
  if [ ! -s "$dir/upper/etc/machine-id" ]; then
    echo "gone its disk $dir is gone"
  elif ! is_running "$pid"; then
    echo "off $(why_off 'it was powered off, or its processes were killed')"
  elif [ ! -e "/run/netns/$LAB_NS-$NAME" ]; then
    echo "off its network namespace $LAB_NS-$NAME is gone"
  else
    words=$(printf '%s' "$said" | tail -n 1 | tr -d '\r')
    echo "unreachable its machine runs, and ssh does not answer (${words:-no answer within $((20 * PATIENCE)) s})"
  fi
}

is_running() { # is_running PID
  if $BY_UNIT; then
    systemctl -q is-active "litelab-$LAB_ID-$NAME"
  else
    [ -n "$1" ] && tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF -- "--machine=$LAB_ID-$NAME "
  fi
}

load_lab || {
  echo "gone $RUN/lab.env is gone"
  exit 0
}
case ${1:-} in
look) if [ "$NAME" = network ]; then look_network; else look_host; fi ;;
start) if [ "$NAME" = network ]; then exec "$here/network.sh" start; else exec "$here/host.sh" start "$NAME"; fi ;;
*) die "usage: presence.sh look|start network|host-N" ;;
esac
