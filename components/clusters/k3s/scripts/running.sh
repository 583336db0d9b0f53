#!/bin/bash
# running.sh, on a host: the version that it has been brought to.
set -euo pipefail
cat /opt/litelab/k3s/running 2>/dev/null || /usr/local/bin/k3s --version | awk 'NR == 1 { print $3 }'
