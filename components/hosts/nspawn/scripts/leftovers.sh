#!/usr/bin/env bash
# leftovers.sh RUN: removes what a killed 'up' made of the lab with this run folder before its state knew it.
set -euo pipefail
exec "$(dirname "$0")/orphans.sh" --of "$(realpath -m "${1:?usage: leftovers.sh RUN}")" --remove </dev/null
