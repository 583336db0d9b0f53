#!/usr/bin/env bash
# records.sh RUN restore: ssh_config and known_hosts of the lab with that run folder, where they are missing or the checkout was moved.
# records.sh RUN put HOST <RECORD; records.sh RUN drop HOST: a host more or less. config.sh says what a record is.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=config.sh
. "$(dirname "${BASH_SOURCE[0]}")/config.sh"
usage() {
  echo "usage: records.sh RUN restore | put HOST | drop HOST" >&2
  exit 2
}
[ "$#" -ge 2 ] || usage
# A lab that was never made has no folder.
RUN=$(cd "$1" 2>/dev/null && pwd -P) || exit 0
case $2 in
restore) ssh_restore ;;
put) ssh_record "${3:?}" ;;
drop) ssh_forget "${3:?}" ;;
*) usage ;;
esac
