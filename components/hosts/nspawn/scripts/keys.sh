#!/usr/bin/env bash
# keys.sh create|delete: the key by which the operator logs in to the stack's hosts. Prints the private key in OpenSSH's form;
# the command that runs this keeps its output secret and off the console. Each host's own key is made with the host.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$(dirname "$0")/lab.sh"

create() {
  local work
  umask 077
  work=$(mktemp -d "$RUN/.keys.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  ssh-keygen -q -t ed25519 -N '' -C "litelab $STACK" -f "$work/id_ed25519" </dev/null
  cat "$work/id_ed25519"
  mv "$work"/id_ed25519* "$RUN/"
}

delete() { rm -rf "$RUN/id_ed25519" "$RUN/id_ed25519.pub" "$RUN"/.keys.*; }

case ${1:-} in
create | delete) "$1" ;;
*) die "usage: keys.sh create|delete" ;;
esac
