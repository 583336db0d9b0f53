#!/usr/bin/env bash
# ask.sh RUN HOST COMMAND: what a command prints on a host of the lab with that run folder, where root runs it.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source-path=SCRIPTDIR source=config.sh
. "$here/config.sh"
# shellcheck source-path=SCRIPTDIR source=hostio.sh
. "$here/hostio.sh"
RUN=$(cd "${1:?usage: ask.sh RUN HOST COMMAND}" && pwd -P)
ssh_restore
on_host "${2:?}" "${3:?}"
