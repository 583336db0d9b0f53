#!/usr/bin/env bash
# supply.sh create HOST, on the operator's machine, before the first controller starts: brings it what has changed of files and
# images since it was staged. Where the cluster runs already, upgrade.sh does that. Environment: RUNS_PODS, PREPARE_S.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=operator.sh
. "$(dirname "${BASH_SOURCE[0]}")/operator.sh"
HOST=${2:?usage: supply.sh create HOST}

create() {
  local said
  # One login for both: whether it runs, then its list.
  said=$(bounded_on 60 "$HOST" "{ [ -e $ON_HOST/running ] && echo runs || echo new; } && { cat $ON_HOST/list 2>/dev/null || true; }" </dev/null)
  [ "${said%%$'\n'*}" != runs ] || return 0
  printf '%s\n' "${said#*$'\n'}" | "$here/stage.sh" supply "$HOST"
}

case ${1:-} in
create) create ;;
delete) ;;
*) die "$HOST" "usage: supply.sh create HOST" ;;
esac
