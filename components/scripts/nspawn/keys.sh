#!/usr/bin/env bash
# keys.sh create|delete: the stack's own ssh keys. Prints {"client": {...}, "hosts": {NAME: {...}}} with OpenSSH
# private and public keys; the command that runs this keeps its output secret and off the console.
# Environment: HOSTS, the number of hosts.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$(dirname "$0")/lab.sh"

pair() { # pair FILE COMMENT: JSON of a new key pair
  ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1" </dev/null
  # An OpenSSH key is base64 lines: only newlines need escaping.
  printf '{"private":"%s","public":"%s"}' "$(awk '{printf "%s\\n", $0}' "$1")" "$(cut -d' ' -f1,2 "$1.pub")"
}

create() {
  local n work
  umask 077
  work=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  printf '{"client":%s,"hosts":{' "$(pair "$work/client" "litelab $STACK")"
  for n in $(seq "$HOSTS"); do
    [ "$n" -eq 1 ] || printf ,
    printf '"host-%d":%s' "$n" "$(pair "$work/host-$n" "host-$n")"
    printf 'host-%d %s\n' "$n" "$(cut -d' ' -f1,2 "$work/host-$n.pub")" >>"$work/known_hosts"
  done
  printf '}}\n'
  mv "$work/client" "$RUN/id_ed25519"
  mv "$work/client.pub" "$RUN/id_ed25519.pub"
  mv "$work/known_hosts" "$RUN/known_hosts"
}

delete() { rm -f "$RUN/id_ed25519" "$RUN/id_ed25519.pub" "$RUN/known_hosts"; }

case ${1:-} in
create | delete) "$1" ;;
*) die "usage: keys.sh create|delete" ;;
esac
