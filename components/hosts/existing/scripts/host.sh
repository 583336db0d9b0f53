#!/usr/bin/env bash
# host.sh create|delete|restore NAME: takes a host for the lab, and gives it back as it was. Prints which machine it is.
# restore notes again that the host is taken, in a run folder that was lost.
# delete leaves the host's inventories of before and after in RUN/inventory and says what differs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
RUN=$(cd "$here/.." && pwd -P)
STACK=$(basename "$RUN")
NAME=${2:?usage: host.sh create|delete NAME}
LAB=$(cat "$RUN/lab.id" 2>/dev/null || true)
BEGAN_NS=$(date +%s%N)
# shellcheck source-path=SCRIPTDIR source=../../../ssh/scripts/config.sh
. "$here/config.sh"
# shellcheck source-path=SCRIPTDIR source=../../../ssh/scripts/hostio.sh
. "$here/hostio.sh"
ssh_restore

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $NAME ($(ssh -T -G -F "$RUN/ssh_config" "$NAME" 2>/dev/null | awk '$1 == "hostname" { print $2 }')): $*"
  exit 1
}

by_root() { # by_root SCRIPT ARGUMENTS: on the host, with inventory.sh before it; bounded there, so that none outlives its ssh by much
  share "$NAME"
  cat "$here/inventory.sh" "$here/$1" | on_host "$NAME" "timeout -k 10 240 bash -s ${*:2}"
}

create() {
  local id ms
  mkdir -p "$RUN/hosts"
  : >"$RUN/hosts/$NAME.claim"
  id=$(by_root claim.sh "$LAB" "$NAME") || die "it could not be taken for the lab; the lines above say why. Run the same command again."
  ms=$((($(date +%s%N) - BEGAN_NS) / 1000000))
  printf '{"step":"host","host":"%s","seconds":%d.%03d}\n' "$NAME" $((ms / 1000)) $((ms % 1000)) >>"$RUN/steps.jsonl"
  printf '%s-%s\n' "$NAME" "$id"
}

delete() {
  local lists=$RUN/inventory all new gone
  if is_gone "$NAME"; then
    say "$NAME: is gone, so nothing was undone on it."
    rm -f "$RUN/hosts/$NAME.claim"
    return
  fi
  [ -e "$RUN/ssh/$NAME" ] || {
    say "error: $NAME: how it is reached is not known here, so it was not given back: $RUN/ssh/$NAME is missing. 'make destroy STACK=$STACK' restores it from the state."
    exit 1
  }
  mkdir -p "$lists"
  all=$(by_root release.sh "$LAB" </dev/null) || die "it could not be released, so what the lab put there stays until it answers: run 'make destroy STACK=$STACK' again then. If the host is gone for good, 'make destroy STACK=$STACK GONE=$NAME' ends the lab without it."
  rm -f "$RUN/hosts/$NAME.claim"
  if [ "$all" = "-- not ours" ]; then
    say "$NAME: is not in this lab's use any more; nothing was changed on it."
    return
  fi
  sed -n '/^-- before$/,/^-- after$/p' <<<"$all" | grep -v '^-- ' >"$lists/$NAME.before"
  sed '1,/^-- after$/d' <<<"$all" >"$lists/$NAME.after"
  new=$(LC_ALL=C comm -13 "$lists/$NAME.before" "$lists/$NAME.after")
  gone=$(LC_ALL=C comm -23 "$lists/$NAME.before" "$lists/$NAME.after")
  if [ -z "$new$gone" ]; then
    say "$NAME: as it was, $(wc -l <"$lists/$NAME.after") things compared ($(realpath --relative-to="$RUN/../../.." "$lists")/$NAME.before and .after)"
    return
  fi
  say "$NAME: differs from before the lab (in $(realpath --relative-to="$RUN/../../.." "$lists")): $({ sed '/./!d; s/^/new: /' <<<"$new"; sed '/./!d; s/^/gone: /' <<<"$gone"; } | head -n 12 | awk '{ printf "%s%s", (NR > 1 ? "; " : ""), $0 }')"
}

restore() {
  mkdir -p "$RUN/hosts"
  : >>"$RUN/hosts/$NAME.claim"
}

case ${1:-} in
create | delete | restore) "$1" ;;
*) die "usage: host.sh create|delete|restore NAME" ;;
esac
