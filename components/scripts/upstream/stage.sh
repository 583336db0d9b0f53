#!/usr/bin/env bash
# stage.sh create|delete HOST, on the operator's machine: copies upstream Kubernetes and these scripts to a host, and
# makes the host ready for a kubelet. What is there already is not copied again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
RUN=$(cd "$here/.." && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../ssh/config.sh
. "$here/config.sh"
# shellcheck source-path=SCRIPTDIR source=../ssh/hostio.sh
. "$here/hostio.sh"
ssh_restore
ARTIFACTS=${LITELAB_CACHE:-$RUN/../../../.cache}/artifacts/upstream
ON_HOST=/opt/litelab/upstream
# What the host's shell ends with when the copy was not whole; prepare.sh itself ends with 1.
CUT=3
HOST=${2:?usage: stage.sh create|delete HOST}

die() {
  printf 'error: host %s: %s\n' "$HOST" "$*" >&2
  exit 1
}

create() {
  [ -r "$ARTIFACTS/manifest.json" ] || die "$ARTIFACTS has no manifest.json, so Kubernetes was not built. Run 'make setup', which builds it."
  local digest there
  digest=$(sha256sum "$ARTIFACTS/manifest.json")
  digest=${digest%% *}
  # As few logins as can be: where hosts start, each waits for a processor.
  there=$(tar -C "$here" --owner=0 --group=0 -cf - . |
    on_host "$HOST" "mkdir -p $ON_HOST/scripts && tar -xf - -C $ON_HOST/scripts && { cat $ON_HOST/.digest 2>/dev/null || true; }") ||
    die "copying scripts ended early: the connection broke, or the host's disk is full ('df -h /' there). Then run the same command again to go on."
  if [ "$there" = "$digest" ]; then
    on_host "$HOST" "$ON_HOST/scripts/prepare.sh" </dev/null
    return
  fi
  # A copy that is cut between two files would be whole to tar: zstd's own error counts too.
  on_host "$HOST" "set -eo pipefail; cd $ON_HOST; rm -rf .digest bin cni images; { zstd -dcq | tar -xf -; } || exit $CUT; echo $digest >.digest; $ON_HOST/scripts/prepare.sh </dev/null || exit 1" \
    <"$ARTIFACTS/files.tar.zst" || {
    [ "$?" -eq 1 ] || # prepare.sh has said what was wrong
      die "copying $ARTIFACTS ended early: the connection broke, the host's disk is full ('df -h /' there), or what is copied is damaged ('make setup' makes that again). Then run the same command again to go on."
    exit 1
  }
}

# On a host that is gone there is nothing to remove.
delete() {
  [[ " ${LITELAB_GONE:-} " != *" $HOST "* ]] || return 0
  on_host "$HOST" "[ ! -x $ON_HOST/scripts/reset.sh ] || $ON_HOST/scripts/reset.sh" </dev/null
}

case ${1:-} in
create | delete) "$1" ;;
*) die "usage: stage.sh create|delete HOST" ;;
esac
