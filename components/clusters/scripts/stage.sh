#!/usr/bin/env bash
# stage.sh create|delete HOST, on the operator's machine: a distribution's files, images and scripts to a host, which is made
# ready for it. What prepare.sh is told comes by standard input, PREPARE_S bounds it; RUNS_PODS: whether the host needs images;
# GOES_FIRST: whether others wait for it. Files that are there already are not copied again. At the end the distribution is taken
# off a living host.
# stage.sh files HOST: files and images alone; the host's list comes by standard input.
# stage.sh supply HOST: the same when the list has changed since, and prepare.sh again, with what it was told.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=operator.sh
. "$(dirname "${BASH_SOURCE[0]}")/operator.sh"
HOST=${2:?usage: stage.sh create|delete HOST}

LIST="cat $ON_HOST/list 2>/dev/null || true"

# Prints the host's list, for a login less.
scripts() {
  tar -C "$here" --owner=0 --group=0 -cf - . |
    on "$HOST" "mkdir -p $ON_HOST/scripts && tar -xf - -C $ON_HOST/scripts && { $LIST; }" || cut_short "$HOST" "copying scripts"
}

# files THERE: what the host's list, THERE, lacks of ours; a file counts as there only when the list says so.
files() {
  local there=$1 list kind name digest folder missing=0
  [ -r "$RUN/$PART.list" ] || die "$HOST" "$RUN/$PART.list is missing, so nothing was fetched for it. Run 'pulumi up' again; it fetches first."
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # this folder
  trap "rm -rf '$folder'" EXIT
  mkdir "$folder/files" "$folder/images"
  list=$folder/list.new
  list_for "${RUNS_PODS:?}" >"$list"
  while read -r kind name digest; do
    [ "$kind" != version ] || continue
    [ -r "$BLOBS/$digest" ] || die "$HOST" "$name is no longer in the cache ($BLOBS). 'pulumi up --replace' of the step artifacts fetches it again."
    if [ "$kind" = image ]; then name=$name.tar; fi
    ln -s "$(readlink -f "$BLOBS/$digest")" "$folder/${kind}s/$name"
    missing=$((missing + 1))
  done < <(grep -vxFf <(printf '%s' "$there") "$list" || true)
  if [ "$missing" -gt 0 ] || [ "$there" != "$(<"$list")" ]; then
    tar -C "$folder" --owner=0 --group=0 -chf - list.new files images | on "$HOST" "$ON_HOST/scripts/receive.sh" ||
      cut_short "$HOST" "copying $missing files"
  fi
}

create() {
  local told there
  # Where copying keeps the processors busy, what all others wait for is not to wait for them.
  [ "${GOES_FIRST:-true}" = true ] || renice -n 5 -p $$ >/dev/null
  told=$(cat)
  there=$(scripts </dev/null)
  files "$there" </dev/null
  # It is kept for supply; it holds no secret.
  printf '%s\n---\n' "$told" | bounded_on "${PREPARE_S:-300}" "$HOST" "cat >$ON_HOST/prepare.input && $ON_HOST/scripts/prepare.sh <$ON_HOST/prepare.input"
}

# What was fetched has been corrected: a host that is not part of the cluster yet must not go on with the old files.
supply() {
  [ "$1" != "$(list_for "${RUNS_PODS:?}")" ] || return 0
  files "$1"
  bounded_on "${PREPARE_S:-300}" "$HOST" "$ON_HOST/scripts/prepare.sh <$ON_HOST/prepare.input"
}

# Of a host that the user says is gone nothing can be taken off; a living one that only does not answer keeps its place in the state.
delete() {
  ! is_gone "$HOST" || return 0
  bounded_on 300 "$HOST" "[ ! -x $ON_HOST/scripts/reset.sh ] || $ON_HOST/scripts/reset.sh" </dev/null ||
    die "$HOST" "$PART could not be taken off it. If the host is gone for good, add GONE=$HOST ('make destroy STACK=$STACK GONE=$HOST'); else see what it does ('make ssh STACK=$STACK HOST=$HOST'), and run the same command again."
}

case ${1:-} in
create | delete) "$1" ;;
files | supply) "$1" "$(cat)" </dev/null ;;
*) die "$HOST" "usage: stage.sh create|delete|files|supply HOST" ;;
esac
