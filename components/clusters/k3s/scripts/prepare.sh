#!/bin/bash
# prepare.sh, on a host: the system made ready, K3s's binary and the lab's images in place. Nothing is started.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k3s.sh
. "$(dirname "$0")/k3s.sh"

prepare_os
put_staged k3s "$K3S"
step_done prepare
