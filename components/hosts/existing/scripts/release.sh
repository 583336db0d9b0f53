# shellcheck shell=bash
# Read by root's bash on a host after inventory.sh: removes what is left of the lab, restores what kubelets set, and prints the
# inventories of before and after, each below a line that says which. $1: the lab's id.
set -euo pipefail
if [ "$(cat /var/lib/litelab/lab 2>/dev/null)" != "$1" ]; then
  echo "-- not ours"
  exit 0
fi
# A step that failed is in no state: what it began, its reset ends. What it had only copied goes with the folder.
for reset in /opt/litelab/*/scripts/reset.sh; do [ ! -x "$reset" ] || "$reset" >&2; done
rm -rf /opt/litelab
while IFS='=' read -r key value; do
  [ "$(sysctl -n "$key" 2>/dev/null)" = "$value" ] || sysctl -q -w "$key=$value" >&2 || true
done </var/lib/litelab/sysctls
echo "-- before"
cat /var/lib/litelab/before
rm -rf /var/lib/litelab /run/litelab
echo "-- after"
inventory
