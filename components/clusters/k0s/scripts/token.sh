#!/bin/bash
# token.sh create|delete HOST ROLE STATE, on the first controller: a token for one host, on standard output; it ends within the
# hour, and is invalidated when the host has joined.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"
HOST=${2:?usage: token.sh create|delete HOST ROLE STATE} ROLE=${3:?} STATE=${4:?}
ID=/run/litelab/k0s-token-$HOST
GIVEN=$BASE/given-$HOST

create() {
  local token secret
  if [ "$STATE" = joined ]; then
    echo none
    return
  fi
  # A replaced host is another one than the node of its name, which there can't be before a first token.
  [ ! -e "$GIVEN" ] || kubectl delete node "$HOST" --ignore-not-found --timeout=60s >/dev/null
  : >"$GIVEN"
  token=$("$K0S" token create "--role=$ROLE" --expiry=1h) || die "k0s gave no token for $HOST; its journal ends:
$(journal k0scontroller)"
  # A packed kubeconfig; before the dot of its own token is what it is known by.
  secret=$(printf %s "$token" | base64 -d | gunzip | awk '$1 == "token:" { print $2 }')
  (umask 077 && printf '%s\n' "${secret%%.*}" >"$ID")
  printf '%s\n' "$token"
}

delete() {
  [ -e "$ID" ] || return 0
  "$K0S" token invalidate "$(cat "$ID")" >/dev/null
  rm -f "$ID"
}

case ${1:-} in
create | delete) "$1" ;;
*) die "usage: token.sh create|delete HOST ROLE STATE" ;;
esac
