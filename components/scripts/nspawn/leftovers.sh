#!/usr/bin/env bash
# leftovers.sh RUN: removes what a killed 'up' made of the lab with this run folder before its state knew it.
set -euo pipefail
exec "$(dirname "$0")/orphans.sh" --remove --of "${1:?usage: leftovers.sh RUN}" </dev/null
