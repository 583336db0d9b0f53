#!/usr/bin/env bash
# upgrade.sh create, on the operator's machine: brings every host to the wanted version, programs and images, one after another,
# in order. Hosts that have them are left alone, so on a fresh lab it does nothing. Environment: HOSTS (in order, with blanks), NODES
# (those that run pods), FIRST.
# Standard input: settings, KEY=VALUE lines.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=operator.sh
. "$(dirname "${BASH_SOURCE[0]}")/operator.sh"

# Not at the end of a lab, whose run folder may be without the list.
WANTED=''
[ "${1:-}" != create ] || WANTED=$(awk '$1 == "version" { print $2 }' "$RUN/$PART.list")

# check_order HOST NOW: refuses what Kubernetes does not allow, before anything is touched.
check_order() {
  local host=$1 now=$2 now_minor wanted_minor
  [ "$now" != "$WANTED" ] || return 0
  [ "$(printf '%s\n%s\n' "$now" "$WANTED" | sort -V | tail -n 1)" = "$WANTED" ] ||
    die "$host" "it runs $now, and the lab's file asks for $WANTED: a cluster is never downgraded, since its datastore may hold what the older version can't read. Put version back, or destroy the lab and make it anew."
  now_minor=$(printf %s "$now" | cut -d. -f2) wanted_minor=$(printf %s "$WANTED" | cut -d. -f2)
  [ $((wanted_minor - now_minor)) -le 1 ] ||
    die "$host" "it runs $now, and the lab's file asks for $WANTED: Kubernetes is upgraded one minor at a time. Set version to the newest 1.$((now_minor + 1)) first."
}

runs_pods() { if [[ " $NODES " == *" $1 "* ]]; then echo true; else echo false; fi; }

create() {
  local host said now settings answers old=''
  local -A there asked
  settings=$(cat)
  answers=$(mktemp -d)
  # shellcheck disable=SC2064 # this folder
  trap "rm -rf '$answers'" EXIT
  for host in $HOSTS; do
    # One login for both: what it runs, then its list.
    bounded_on 60 "$host" "$ON_HOST/scripts/running.sh && { cat $ON_HOST/list 2>/dev/null || true; }" </dev/null >"$answers/$host" &
    asked[$host]=$!
  done
  for host in $HOSTS; do
    wait "${asked[$host]}"
    said=$(<"$answers/$host")
    now=${said%%$'\n'*} there[$host]=${said#*$'\n'}
    check_order "$host" "$now"
    # Another file under the same version is as much a change.
    [ "$now" = "$WANTED" ] && [ "${there[$host]}" = "$(list_for "$(runs_pods "$host")")" ] || old="$old $host"
  done
  for host in $old; do
    say "$host: brought to $WANTED"
    printf '%s\n' "${there[$host]}" | RUNS_PODS=$(runs_pods "$host") "$here/stage.sh" files "$host"
    printf '%s\nCONTROLLER=%s\n---\n' "$settings" "$FIRST" | bounded_on 600 "$host" "$ON_HOST/scripts/upgrade-host.sh create" >/dev/null
    # Only when the cluster sees it well is the next one touched.
    bounded_on 300 "$FIRST" "$ON_HOST/scripts/verify.sh node $host $WANTED" </dev/null >/dev/null
  done
  # What runs, in its own words: it may be another than was asked for where a channel has moved on.
  bounded_on 60 "$FIRST" "$ON_HOST/scripts/running.sh exact" </dev/null
}

case ${1:-} in
create) create ;;
delete) ;;
*) die operator "usage: upgrade.sh create" ;;
esac
