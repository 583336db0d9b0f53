#!/usr/bin/env bash
# artifacts.sh create|delete|restore, on the operator's machine: which files hosts are to have, in RUN/upstream.list as other distributions
# have it: `version V`, `file NAME DIGEST`. Environment: VERSION. Prints the list's digest.
# restore writes the list for a lab that another checkout made.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
RUN=$(cd "$here/.." && pwd -P)
ARTIFACTS=${LITELAB_CACHE:-$RUN/../../../.cache}/artifacts/upstream-${VERSION:?}

create() {
  local list digest
  [ -r "$ARTIFACTS/manifest.json" ] || {
    printf "error: Kubernetes %s was not built: %s has no manifest.json. 'make setup STACK=%s' builds it. No host was changed.\n" \
      "$VERSION" "$ARTIFACTS" "$(basename "$RUN")" >&2
    exit 1
  }
  digest=$(sha256sum "$ARTIFACTS/manifest.json")
  list=$(printf 'version %s\nfile files.tar.zst %s' "$VERSION" "${digest%% *}")
  printf '%s\n' "$list" >"$RUN/.upstream.list.new"
  mv "$RUN/.upstream.list.new" "$RUN/upstream.list"
  digest=$(sha256sum "$RUN/upstream.list")
  printf '%s\n' "${digest:0:12}"
}

case ${1:-} in
create) create ;;
restore) create >/dev/null ;;
delete) ;;
*) echo "usage: artifacts.sh create|delete|restore" >&2 && exit 2 ;;
esac
