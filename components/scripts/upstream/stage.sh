#!/usr/bin/env bash
# stage.sh create|delete HOST, on the operator's machine: copies upstream Kubernetes and these scripts to a host, and
# makes the host ready for a kubelet. What is there already is not copied again.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../shared/root.sh
. "$(dirname "${BASH_SOURCE[0]}")/root.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
RUN=$(cd "$here/.." && pwd -P)
ARTIFACTS=${LITELAB_CACHE:-$RUN/../../../.cache}/artifacts/upstream
HOST=${2:?usage: stage.sh create|delete HOST}

die() {
  printf 'error: host %s: %s\n' "$HOST" "$*" >&2
  exit 1
}

on_host() { ssh -F "$RUN/ssh_config" "$HOST" "$(by_root "$RUN/ssh_config" "$HOST" "$1")"; }

create() {
  [ -r "$ARTIFACTS/manifest.json" ] || die "$ARTIFACTS has no manifest.json, so Kubernetes was not built. Run 'make setup', which builds it."
  local digest
  digest=$(sha256sum "$ARTIFACTS/manifest.json" | cut -c1-64)
  if [ "$(on_host 'cat /opt/litelab/upstream/.digest 2>/dev/null || true' </dev/null)" != "$digest" ]; then
    # A copy that is cut between two files would be whole to tar: zstd's own error counts too.
    on_host "set -eo pipefail; rm -rf /opt/litelab/upstream; mkdir -p /opt/litelab/upstream; zstd -dcq | tar -xf - -C /opt/litelab/upstream; echo $digest >/opt/litelab/upstream/.digest" <"$ARTIFACTS/files.tar.zst" ||
      die "copying $ARTIFACTS ended early: the connection broke, the host's disk is full ('df -h /' there), or what is copied is damaged ('make setup' makes that again). Then run the same command again to go on."
  fi
  tar -C "$here" --owner=0 --group=0 -cf - . | on_host 'mkdir -p /opt/litelab/upstream/scripts && tar -xf - -C /opt/litelab/upstream/scripts'
  on_host /opt/litelab/upstream/scripts/prepare.sh </dev/null
}

delete() { on_host '[ ! -x /opt/litelab/upstream/scripts/reset.sh ] || /opt/litelab/upstream/scripts/reset.sh' </dev/null; }

case ${1:-} in
create | delete) "$1" ;;
*) die "usage: stage.sh create|delete HOST" ;;
esac
