#!/usr/bin/env bash
# cluster.sh up|down FOLDER: the default lab's cluster by shell alone. The same steps as components/clusters/upstream.py
# declares, in the same order, in parallel where nothing forbids it; FOLDER is <project>/.lab/run/<name>.
set -euo pipefail
RUN=${2:?usage: cluster.sh up|down FOLDER}
scripts=$(cd "$(dirname "$0")/../../components/scripts" && pwd -P)
export HOSTS=3 INTERNET=false SUBNET='' CPUS=2 MEMORY_MIB=2048
NUMBERS=(1 2 3)

# all COMMAND...: COMMAND N for every host at once.
all() {
  local n jobs=()
  for n in "${NUMBERS[@]}"; do
    "$@" "$n" </dev/null &
    jobs+=("$!")
  done
  for n in "${jobs[@]}"; do wait "$n"; done
}

value() { python3 -c 'import json, sys
v = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: v = v[k]
print(v)' "$@"; }

host() { value "$RUN/keys.json" hosts "host-$1" private | ADDRESS=$((10 + $1)) "$RUN/nspawn-x/host.sh" create "host-$1"; }

certificates() {
  local role=worker
  [ "$1" -ne 1 ] || role=controller
  printf '{"ca": %s, "name": "host-%d", "address": "%s.%d", "role": "%s", "cluster": "perf", "server": "https://%s.11:6443", "serviceAddress": "10.96.0.1"}' \
    "$(cat "$RUN/ca.json")" "$1" "$PREFIX" $((10 + $1)) "$role" "$PREFIX" | "$RUN/upstream-x/pki.py" create host >"$RUN/certificates-$1.json"
}

stage() { "$RUN/upstream-x/stage.sh" create "host-$1"; }

input() { # input N TAINT
  printf 'POD_CIDR=10.244.0.0/16\nSERVICE_CIDR=10.96.0.0/16\nDNS_ADDRESS=10.96.0.10\nCOREDNS_IMAGE=docker.io/litelab/coredns:1.14.1\n'
  printf 'INTERNET=false\nCLUSTER=perf\nTAINT=%s\nADDRESS=%s.%d\n---\n' "$2" "$PREFIX" $((10 + $1))
  value "$RUN/certificates-$1.json" files
}

on() { ssh -F "$RUN/ssh_config" "host-$1" "/opt/litelab/upstream/scripts/$2 create"; }

node() { input "$1" "$([ "$1" -eq 1 ] && echo true || echo false)" | on "$1" node.sh; }

up() {
  mkdir -p "$RUN"
  cp -r "$scripts/nspawn" "$RUN/nspawn-x"
  cp -r "$scripts/upstream" "$RUN/upstream-x"
  "$RUN/upstream-x/pki.py" create ca >"$RUN/ca.json" &
  local ca=$! keys certificates
  "$RUN/nspawn-x/keys.sh" create >"$RUN/keys.json" &
  keys=$!
  PREFIX=$("$RUN/nspawn-x/network.sh" create)
  wait "$ca" "$keys"
  all certificates &
  certificates=$!
  all host
  all stage
  wait "$certificates"
  input 1 true | on 1 controller.sh
  all node
  printf 'NODES=3\nTAINT=true\n---\n' | on 1 verify.sh
}

delete() { "$RUN/nspawn-x/host.sh" delete "host-$1"; }

down() {
  [ -d "$RUN/nspawn-x" ] || return 0
  all delete
  "$RUN/nspawn-x/keys.sh" delete
  "$RUN/nspawn-x/network.sh" delete
  rm -rf --one-file-system "$RUN"
}

case ${1:-} in
up | down) "$1" ;;
*)
  echo "usage: cluster.sh up|down FOLDER" >&2
  exit 2
  ;;
esac
