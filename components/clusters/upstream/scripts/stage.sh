#!/usr/bin/env bash
# stage.sh create|delete HOST, on the operator's machine: copies upstream Kubernetes and these scripts to a host, and makes the host
# ready for a kubelet. What is there already is not copied again; where Kubernetes runs, its programs are the upgrade's business.
# stage.sh files HOST: the programs alone, beside those that run. upgrade-host.sh puts them in place.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/operator.sh
. "$(dirname "${BASH_SOURCE[0]}")/operator.sh"
HOST=${2:?usage: stage.sh create|delete|files HOST}
# What the host's shell ends with when the copy was not whole; prepare.sh itself ends with 1.
CUT=3

artifacts() {
  local version
  [ -r "$RUN/$PART.list" ] || die "$HOST" "$RUN/$PART.list is missing, so nothing is known of what it is to have. 'pulumi up --replace' of the step artifacts writes it."
  version=$(awk '$1 == "version" { print $2 }' "$RUN/$PART.list")
  printf '%s/%s\n' "${LITELAB_CACHE:-$RUN/../../../.cache}/artifacts" "upstream-$version"
}

# copy COMMAND: the programs to the host, which unpacks them in the folder $1 there and then runs COMMAND; the list is put last.
copy() {
  local folder=$1 command=$2 from
  from=$(artifacts)
  # A copy that is cut between two files would be whole to tar: zstd's own error counts too.
  on "$HOST" "set -eo pipefail; mkdir -p $folder; cd $folder; rm -rf list .digest bin cni images; { zstd -dcq | tar -xf -; } || exit $CUT; printf '%s\n' '$(<"$RUN/$PART.list")' >list; $command" \
    <"$from/files.tar.zst" || {
    [ "$?" -eq 1 ] || # the command has said what was wrong
      die "$HOST" "copying $from ended early: the connection broke, the host's disk is full ('df -h /' there), or what is copied is damaged ('make setup' makes that again). Then run the same command again to go on."
    exit 1
  }
}

create() {
  local said
  # As few logins as can be: where hosts start, each waits for a processor.
  said=$(tar -C "$here" --owner=0 --group=0 -cf - . |
    on "$HOST" "mkdir -p $ON_HOST/scripts && tar -xf - -C $ON_HOST/scripts && $ON_HOST/scripts/running.sh there") ||
    die "$HOST" "copying scripts ended early: the connection broke, or the host's disk is full ('df -h /' there). Then run the same command again to go on."
  if [ "$said" = runs ] || [ "$said" = "$(<"$RUN/$PART.list")" ]; then
    on "$HOST" "$ON_HOST/scripts/prepare.sh" </dev/null
    return
  fi
  copy "$ON_HOST" "$ON_HOST/scripts/prepare.sh </dev/null || exit 1"
}

# On a host that is gone there is nothing to remove.
delete() {
  ! is_gone "$HOST" || return 0
  on "$HOST" "[ ! -x $ON_HOST/scripts/reset.sh ] || $ON_HOST/scripts/reset.sh" </dev/null ||
    die "$HOST" "$PART could not be taken off it. If the host is gone for good, add GONE=$HOST ('make destroy STACK=$STACK GONE=$HOST'); else see what it does ('make ssh STACK=$STACK HOST=$HOST'), and run the same command again."
}

case ${1:-} in
create | delete) "$1" ;;
files) copy "$ON_HOST/incoming" true ;;
*) die "$HOST" "usage: stage.sh create|delete|files HOST" ;;
esac
