#!/bin/bash
# running.sh, on a host: the version that it has been brought to.
# running.sh exact, on a controller: the version of the API server, in its own words.
# running.sh there: `runs` where Kubernetes has come up, else the list of what was copied, or nothing.
set -euo pipefail
BASE=$(cd "$(dirname "$0")/.." && pwd -P)

# A lab of a Litelab that kept no such file.
if [ ! -e "$BASE/running" ] && [ -e "$BASE/.digest" ] && grep -qs '"step":"node"' /var/lib/litelab/steps.jsonl; then
  "$BASE/links/kubelet" --version | awk '{ print $2 }' >"$BASE/.running.new"
  mv "$BASE/.running.new" "$BASE/running"
fi
if [ "${1:-}" = exact ]; then
  "$BASE/links/kubectl" --kubeconfig=/etc/kubernetes/admin.conf --request-timeout=30s get --raw /version | awk -F'"' '$2 == "gitVersion" { print $4 }'
elif [ "${1:-}" != there ]; then
  cat "$BASE/running" 2>/dev/null || awk '$1 == "version" { print $2 }' "$BASE/list"
elif [ -e "$BASE/running" ]; then
  echo runs
else
  cat "$BASE/list" 2>/dev/null || true
fi
