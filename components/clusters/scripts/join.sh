#!/usr/bin/env bash
# join.sh create HOST, on the operator's machine: a host joins the cluster. FIRST, the first controller, gives a token for this
# host alone; it goes from host to host, through no file, state or log of this machine, and is invalidated after its use.
# Environment: FIRST, ROLE. Standard input: the host's settings, KEY=VALUE lines.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=operator.sh
. "$(dirname "${BASH_SOURCE[0]}")/operator.sh"
HOST=${2:?usage: join.sh create HOST}

create() {
  local settings said state address token
  settings=$(cat)
  address=$(sed -n 's/^ADDRESS=//p' <<<"$settings")
  # One login for all: whether it has joined, whether it runs, then its list.
  said=$(bounded_on 60 "$HOST" "$ON_HOST/scripts/node.sh state && { [ -e $ON_HOST/running ] && echo runs || echo new; } && { cat $ON_HOST/list 2>/dev/null || true; }" </dev/null)
  state=${said%%$'\n'*} said=${said#*$'\n'}
  # The list may have changed since the host was staged: an image that was missing is why a join failed.
  [ "${said%%$'\n'*}" = runs ] || printf '%s\n' "${said#*$'\n'}" | "$here/stage.sh" supply "$HOST"
  token=$(bounded_on 120 "$FIRST" "$ON_HOST/scripts/token.sh create $HOST $ROLE $state $address" </dev/null)
  # shellcheck disable=SC2064 # this host
  trap "bounded_on 60 '$FIRST' '$ON_HOST/scripts/token.sh delete $HOST $ROLE joined' </dev/null || say 'error: host $FIRST: the token of $HOST could not be invalidated; it ends within the hour.'" EXIT
  printf '%s\n---\n%s\n' "$settings" "$token" | bounded_on "${JOIN_S:-900}" "$HOST" "$ON_HOST/scripts/node.sh create"
}

case ${1:-} in
create) create ;;
delete) ;;
*) die "$HOST" "usage: join.sh create HOST" ;;
esac
