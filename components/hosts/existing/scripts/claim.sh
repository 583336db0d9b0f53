# shellcheck shell=bash
# Read by root's bash on a host after inventory.sh: takes it for a lab, once. $1: the lab's id; $2: the host's name in it.
set -euo pipefail
# Of two labs that come at once, one finds the other's mark.
exec 9</var/lib
flock -w 60 9
[ -e /var/lib/litelab/lab ] || [ ! -d /var/lib/litelab ] || rm -rf /var/lib/litelab
if [ ! -e /var/lib/litelab/lab ]; then
  umask 022
  before=$(mktemp)
  inventory >"$before"
  mkdir -p /var/lib/litelab
  mv "$before" /var/lib/litelab/before
  sysctls >/var/lib/litelab/sysctls
  printf '%s\n' "$2" >/var/lib/litelab/name
  # Last: with it, all of the above is there.
  printf '%s\n' "$1" >/var/lib/litelab/lab
fi
[ "$(cat /var/lib/litelab/lab)" = "$1" ] || { echo "the lab $(cat /var/lib/litelab/lab) has just taken it" >&2; exit 1; }
printf '%s\n' "$2" >/var/lib/litelab/name
cut -c1-12 /etc/machine-id
