#!/bin/bash
# running.sh, on a host: the version that it has been brought to.
set -euo pipefail
cat /opt/litelab/k0s/running 2>/dev/null || /usr/local/bin/k0s version
