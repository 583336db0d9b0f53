#!/usr/bin/env bash
# leftovers.sh RUN: ends the ways through another machine that a killed 'up' opened for the lab with this run folder.
set -euo pipefail
run=${1:?usage: leftovers.sh RUN}
[ -d "$run/forwards" ] || exit 0
exec python3 "$(dirname "$0")/forward.py" close "$(cd "$run" && pwd -P)"
