#!/usr/bin/env bash
# orphans.sh [--remove] [--of RUN]: what nspawn labs, or the one with this run folder, have left on this machine that no
# Pulumi state knows. Exit 0: nothing is left.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$(dirname "$0")/lab.sh"

REMOVE=false OF=''
while [ $# -gt 0 ]; do
  case $1 in
  --remove) REMOVE=true ;;
  --of)
    OF=$(realpath -m "${2:?usage: orphans.sh [--remove] [--of RUN]}")
    shift
    ;;
  *) die "usage: orphans.sh [--remove] [--of RUN]" ;;
  esac
  shift
done

# Every id of a lab that the machine shows any trace of: its list, namespaces, mounts, cgroups.
lab_ids() {
  {
    ls "$REGISTRY/labs" 2>/dev/null || true
    ip netns list 2>/dev/null | awk '/^litelab-/ { sub(/^litelab-/, "", $1); sub(/-host-[0-9]+$/, "", $1); print $1 }'
    awk '{ for (i = 7; i < NF; i++) if ($i == "-") { if ($(i + 2) ~ /^litelab-/) print substr($(i + 2), 9); break } }' /proc/self/mountinfo
    find /sys/fs/cgroup -maxdepth 3 -mindepth 2 -type d -path '*/litelab/*' -printf '%f\n' 2>/dev/null || true
  } | sort -u
}

run_of() { # run_of LAB_ID: its run folder, from the machine's list, which another lab may leave meanwhile, or from a mount
  cat "$REGISTRY/labs/$1/run" 2>/dev/null ||
    awk -v s="litelab-$1" '{ for (i = 7; i < NF; i++) if ($i == "-") { if ($(i + 2) == s) print $5; break } }' /proc/self/mountinfo |
    sed -n 's|/hosts/[^/]*/root$||p' | head -n 1
}

known() { # known RUN: its Pulumi state has nspawn hosts, or is being changed
  local own state
  own=$(dirname "$(dirname "$1")")
  # A backend that its checkout names can't be asked here: a lab there is known as long as it has its record.
  if [ -n "$1" ] && grep -qE "^[\"']?backend[\"']? *:" "$own/site.yaml" 2>/dev/null; then
    [ -e "$1/lab.env" ]
    return
  fi
  state=$own/state/.pulumi/stacks/litelab/$(basename "$1").json
  [ -n "$1" ] && [ -r "$state" ] && grep -q 'litelab:hosts:NspawnHosts' "$state"
}

hosts_of() { # hosts_of LAB_ID RUN
  {
    for f in "$REGISTRY/labs/$1"/host-*.pid; do [ ! -e "$f" ] || basename "$f" .pid; done
    ip netns list 2>/dev/null | sed -nE "s/^litelab-$1-(host-[0-9]+).*/\1/p"
    find /sys/fs/cgroup -maxdepth 4 -type d -path "*/litelab/$1/host-*" -printf '%f\n' 2>/dev/null || true
    [ ! -d "${2:-/nonexistent}/hosts" ] || find "$2/hosts" -maxdepth 1 -mindepth 1 -type d -printf '%f\n'
  } | sort -u
}

left=0
while read -r id; do
  [ -n "$id" ] || continue
  run=$(run_of "$id")
  [ -z "$OF" ] || [ "$run" = "$OF" ] || continue
  ! known "$run" || continue
  # Of one that has gone in the meantime there is nothing to say.
  lab_ids | grep -xF -e "$id" >/dev/null || continue
  hosts=$(hosts_of "$id" "$run" | tr '\n' ' ')
  if [ "$REMOVE" = false ]; then
    echo "lab $id: ${hosts:-no hosts }of ${run:-a folder that is gone}; no state knows it"
    left=1
    continue
  fi
  need_root
  export LITELAB_RUN=${run:-$(mktemp -d)} LITELAB_LAB_ID=$id
  for host in $hosts; do "$here/host.sh" delete "$host" </dev/null || left=1; done
  "$here/network.sh" delete || left=1
  [ -n "$run" ] || rmdir "$LITELAB_RUN" 2>/dev/null || true
  [ "$left" -ne 0 ] || echo "lab $id: removed"
done < <(lab_ids)
if [ "$left" -ne 0 ] && [ "$REMOVE" = false ]; then
  echo "Remove them with 'make orphans REMOVE=1'." >&2
fi
exit "$left"
