#!/usr/bin/env bash
# rotate.sh create, on the operator's machine, when the last server has joined: the servers' token, which each of them had to be
# given, is replaced by another; no server can join with the old one. Environment: FIRST, OTHERS (with blanks).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/operator.sh
. "$(dirname "${BASH_SOURCE[0]}")/operator.sh"

create() {
  local host token
  token=$(bounded_on 120 "$FIRST" "$ON_HOST/scripts/token.sh rotate" </dev/null)
  # One after another: each restarts, and two of three must be up.
  for host in $OTHERS; do
    printf '%s\n' "$token" | bounded_on 400 "$host" "$ON_HOST/scripts/node.sh retoken" >/dev/null
  done
}

case ${1:-} in
create) create ;;
delete) ;;
*) die operator "usage: rotate.sh create" ;;
esac
