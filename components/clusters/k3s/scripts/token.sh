#!/bin/bash
# token.sh create|delete HOST ROLE STATE, on the first controller: what a host needs to join, on standard output, and its end.
# A worker gets a token of its own that makes agents alone, ends within the hour, and is deleted when it has joined. A server
# can only join with the servers' token, which 'token.sh rotate' replaces and prints when the last one has joined.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k3s.sh
. "$(dirname "$0")/k3s.sh"
HOST=${2:-} ROLE=${3:-} STATE=${4:-}
ID=/run/litelab/k3s-token-$HOST

create() {
  if [ "$STATE" = joined ]; then
    echo none
    return
  fi
  # A replaced host has lost the password that K3s knows its node by.
  kubectl delete node "$HOST" --ignore-not-found --timeout=60s >/dev/null
  kubectl -n kube-system delete secret "$HOST.node-password.k3s" --ignore-not-found >/dev/null
  if [ "$ROLE" = controller ]; then
    cat "$DATA/server/token"
    return
  fi
  local token
  token=$("$K3S" token create --ttl 1h --description "litelab: $HOST joins") || die "K3s gave no token for $HOST; its journal ends:
$(journal k3s)"
  # K10<digest of the CA>::<id>.<secret>
  token_id=${token##*:}
  (umask 077 && printf '%s\n' "${token_id%%.*}" >"$ID")
  printf '%s\n' "$token"
}

delete() {
  [ -e "$ID" ] || return 0
  "$K3S" token delete "$(cat "$ID")" >/dev/null
  rm -f "$ID"
}

rotate() {
  # K3s makes the new one up itself, so that neither is in a command line.
  "$K3S" token rotate >/dev/null 2>&1 || die "K3s did not rotate the servers' token; its journal ends:
$(journal k3s)"
  cat "$DATA/server/token"
}

case ${1:-} in
create | delete) "$1" "${HOST:?usage: token.sh create|delete HOST ROLE STATE}" ;;
rotate) rotate ;;
*) die "usage: token.sh create|delete HOST ROLE STATE, token.sh rotate" ;;
esac
