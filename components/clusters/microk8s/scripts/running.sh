#!/bin/bash
# running.sh [exact], on a host: which version is installed, in the words of the lab's file when it is what that asked for; exact: always
# with its revision.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"

staged=$(staged_version)
if [ "${1:-}" != exact ] && [ -n "$staged" ] && satisfies "$staged"; then
  printf '%s\n' "$staged"
else
  read -r version revision <<<"$(snap_version)"
  [ -n "${version:-}" ] || die "MicroK8s is not installed here. 'pulumi up --replace' of this host's stage step installs it."
  printf '%s+rev%s\n' "$version" "$revision"
fi
