#!/bin/bash
# mirrors.sh, on a host: containerd's configuration has the logins of the site's mirrors. Who calls it restarts containerd.
set -euo pipefail
[ -e /etc/containerd/config.toml ] || exit 0
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=runtime.sh
. "$(dirname "$0")/runtime.sh"
configure_containerd
