#!/bin/bash
# token.sh create|delete HOST ROLE STATE, on the first controller: a token for one join of one host, and the end of it.
# Prints TOKEN/CHECK, or "none" for a host that has joined.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../shared/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"
HOST=${2:?usage: token.sh create|delete HOST ROLE STATE}
KEPT=/var/lib/litelab/microk8s-token-$HOST
TOKENS=$DATA/credentials/cluster-tokens.txt
umask 077

create() {
  local token
  if [ "$1" = joined ]; then
    echo none
    return
  fi
  # A node of that name was another machine: its place in the datastore and its name have to be free.
  if [ -n "$(kubectl get node "$HOST" --ignore-not-found -o name)" ]; then
    timeout -k 5 120 "$MICROK8S" remove-node "$HOST" --force >/dev/null ||
      die "the cluster still knows an earlier $HOST, and 'microk8s remove-node $HOST --force' failed. Run the same command again."
  fi
  # Without --token-ttl a token is good for one join.
  token=$(timeout -k 5 60 "$MICROK8S" add-node --format token-check) || die "'microk8s add-node' gave no token: $(one_line "$token"). $UNIT is $(systemctl is-active "$UNIT")."
  token=${token##*$'\n'}
  [[ $token =~ ^[A-Za-z0-9]{32,}/[0-9a-f]{12,}$ ]] || die "'microk8s add-node --format token-check' printed no TOKEN/CHECK. 'microk8s version' says which release this is; its add-node may differ."
  printf '%s\n' "${token%%/*}" >"$KEPT"
  printf '%s\n' "$token"
}

# A join that failed before it was tried leaves its token usable, and there is no command that takes it back.
delete() {
  local token
  [ -f "$KEPT" ] || return 0
  token=$(cat "$KEPT")
  if grep -qF "$token" "$TOKENS" 2>/dev/null; then
    # In place: the file keeps its group.
    grep -vF "$token" "$TOKENS" >"$TOKENS.litelab" || true
    cat "$TOKENS.litelab" >"$TOKENS"
    rm -f "$TOKENS.litelab"
  fi
  rm -f "$KEPT"
}

case ${1:-} in
create) create "${4:-}" ;;
delete) delete ;;
*) die "usage: token.sh create|delete HOST ROLE STATE" ;;
esac
