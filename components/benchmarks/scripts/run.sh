#!/usr/bin/env bash
# run.sh create WORKLOAD: measures one workload on the lab; raw results go to .lab/results/<stack>/, the summary to
# standard output. Environment: REPEATS; CONTEXTS (of the kubeconfig, with blanks) where clusters of their own share the load.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
RUN=$(cd "$here/.." && pwd -P)
STACK=$(basename "$RUN")
# shellcheck source-path=SCRIPTDIR source=../../ssh/scripts/config.sh
. "$here/config.sh"
# shellcheck source-path=SCRIPTDIR source=../../ssh/scripts/hostio.sh
. "$here/hostio.sh"
cd "$RUN/../../.."
# How many times longer than on hardware the lab may take, where its hosts or this machine are slow.
PATIENCE=$(cat "$RUN/patience" 2>/dev/null || echo 1)

# took FOLDER: how long each step of the installation took, on this machine and on every host, all asked at once.
took() {
  local host hosts=()
  ssh_restore
  mapfile -t hosts < <(awk '/^Host host-/ { print $2 }' "$RUN/ssh_config")
  for host in "${hosts[@]}"; do
    on_host "$host" 'cat /var/lib/litelab/steps.jsonl 2>/dev/null || true' timeout --foreground $((20 * PATIENCE)) </dev/null >"$1/.steps-$host" &
  done
  wait
  cat "$RUN/steps.jsonl" 2>/dev/null || true
  for host in "${hosts[@]}"; do cat "$1/.steps-$host"; done
  rm -f "$1"/.steps-*
}

# label WORKLOAD: what its results are called, another for each file (inputs/limits.py has the same).
label() {
  local name=${1%.yaml}
  name=${name#/}
  echo "${name//\//-}"
}

# newest FOLDER WORKLOAD: latest-WORKLOAD is this run, also when it failed; without a result of it there is none, rather than an old one.
newest() {
  local link
  link=$(dirname "$1")/latest-$(label "$2")
  if [ -s "$1/result.json" ]; then ln -sfn "$(basename "$1")" "$link"; else rm -f "$link"; fi
}

create() {
  local workload=$1 out steps context contexts=()
  for context in ${CONTEXTS:-}; do contexts+=(--context "$context"); done
  out=.lab/results/$STACK/$(date -u +%Y%m%dT%H%M%SZ)-$(label "$workload")
  mkdir -p "$out"
  steps=$out/steps.json
  took "$out" | awk 'BEGIN { printf "[" } { printf "%s%s", (NR > 1 ? ",\n" : ""), $0 } END { print "]" }' >"$steps"
  python3 -m benchmarks run "$workload" --kubeconfig "$RUN/kubeconfig" --hosts "$RUN/hosts.json" --steps "$steps" \
    --repeats "$REPEATS" --out "$out" --patience "$PATIENCE" "${contexts[@]}" >"$out/console.log" || {
    code=$?
    # 2 and 3: measured, and too slow or worse than its threshold. That is a result.
    [ "$code" -eq 2 ] || [ "$code" -eq 3 ] || {
      newest "$out" "$workload"
      echo "error: the workload $workload could not be measured (exit code $code); the lines above say why. $out has what there is: $(find "$out" -type f -printf '%f ')" >&2
      exit "$code"
    }
  }
  newest "$out" "$workload"
  cat "$out/summary.json"
}

case ${1:-} in
create) create "${2:?usage: run.sh create WORKLOAD}" ;;
delete) ;;
*)
  echo "usage: run.sh create WORKLOAD" >&2
  exit 2
  ;;
esac
