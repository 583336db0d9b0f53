#!/bin/bash
# prepare.sh, on a host: the system made ready, K3s's binary and the lab's images in place. Nothing is started.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k3s.sh
. "$(dirname "$0")/k3s.sh"

prepare_os
# A host that runs another version already is the upgrade's business.
[ -e "$RUNNING" ] || put_program k3s "$K3S"
put_images
step_done prepare
