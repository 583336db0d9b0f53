#!/bin/bash
# running.sh [exact], on a host: which version is installed, in the words of the lab's file when it is what that asked for; exact: the
# package's own.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"

staged=$(staged_version)
if [ "${1:-}" != exact ] && satisfies "$staged"; then echo "$staged"; else installed_version; fi
