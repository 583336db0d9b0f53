#!/bin/bash
# token.sh create|delete HOST ROLE STATE NODE ADDRESS, on the first controller: a token for one join of one host, and the end of it.
# Prints TOKEN/CHECK, or "none" for a host that has joined.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/names.sh
. "$(dirname "$0")/names.sh"
HOST=${2:?usage: token.sh create|delete HOST ROLE STATE NODE ADDRESS}
KEPT=/var/lib/litelab/microk8s-token-$HOST
TOKENS=$DATA/credentials/cluster-tokens.txt
umask 077

# remove_earlier NODE ADDRESS: a node of this name or address, or of the host's before, is of a machine that is no more, for this one
# has not joined: its place in the datastore and its name have to be free.
remove_earlier() {
  local name address was
  was=$(node_of "$HOST")
  # It may be another host's by now.
  [ "$(awk -v node="$was" '$3 == node' "$MEMBERS" 2>/dev/null | wc -l)" -le 1 ] || was=''
  while read -r name address; do
    [ "$name" != "$NODE_NAME" ] || continue
    [ "$name" = "$1" ] || [ "$address" = "$2" ] || [ "$name" = "$was" ] || continue
    timeout -k 5 120 "$MICROK8S" remove-node "$name" --force >/dev/null ||
      die "the cluster still knows $name, an earlier $HOST, and 'microk8s remove-node $name --force' failed. Run the same command again."
  done < <(nodes)
}

# resolve NODE ADDRESS: a join is refused unless this host finds the joining one by its name.
resolve() { getent ahostsv4 "$1" | awk '{ print $1 }' | grep -qxF "$2" || add_name "$2" "$1"; }

create() {
  local token
  if [ "$1" = joined ]; then
    echo none
    return
  fi
  remove_earlier "$2" "$3"
  { awk -v host="$HOST" '$1 != host' "$MEMBERS" 2>/dev/null || true; echo "$HOST $3 $2"; } >"$MEMBERS.new"
  mv "$MEMBERS.new" "$MEMBERS"
  resolve "$2" "$3"
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
create) create "${4:?}" "${5:-}" "${6:-}" ;;
delete) delete ;;
*) die "usage: token.sh create|delete HOST ROLE STATE NODE ADDRESS" ;;
esac
