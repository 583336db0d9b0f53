#!/usr/bin/env bash
# orphans.sh [--of RUN] [--remove [ID...]]: what nspawn labs, or the one with this run folder, have left on this machine that no
# Pulumi state knows. Removes those that are named, or the one of RUN; without a name it removes nothing. Exit 0: nothing is left.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$(dirname "$0")/lab.sh"

REMOVE=false OF=()
while [ $# -gt 0 ]; do
  case $1 in
  --of)
    OF=(--of "${2:?usage: orphans.sh [--of RUN] [--remove [ID...]]}")
    shift
    ;;
  --remove)
    REMOVE=true
    shift
    break
    ;;
  *) die "usage: orphans.sh [--of RUN] [--remove [ID...]]" ;;
  esac
  shift
done

if [ "$REMOVE" = false ] || { [ $# -eq 0 ] && [ ${#OF[@]} -eq 0 ]; }; then
  code=0
  python3 -I "$here/orphans.py" list "${OF[@]}" || code=$?
  [ "$REMOVE" = false ] || [ "$code" -eq 0 ] || say "Nothing was removed: 'make orphans REMOVE=LAB' takes the name of a lab, as it is listed."
  exit "$code"
fi

found=$(python3 -I "$here/orphans.py" find "${OF[@]}" "$@")
left=0
while IFS=$'\x1f' read -r -u 4 id run hosts; do
  [ -n "$id" ] || continue
  need_root
  export LITELAB_RUN=${run:-$(mktemp -d)} LITELAB_LAB_ID=$id
  for host in $hosts; do "$here/host.sh" delete "$host" </dev/null || left=1; done
  "$here/network.sh" delete </dev/null || left=1
  [ -n "$run" ] || rm -rf --one-file-system "$LITELAB_RUN"
  [ "$left" -ne 0 ] || echo "lab $id: removed"
done 4<<<"$found"
exit "$left"
