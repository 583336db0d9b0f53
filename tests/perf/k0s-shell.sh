#!/usr/bin/env bash
# k0s-shell.sh SSH_CONFIG FOLDER: k0s on host-1 (controller), host-2 and host-3 by shell alone, as a person would write it, until every
# node is Ready and cluster DNS is up. FOLDER has k0s, k0s.yaml, litelab.toml and images/.
set -euo pipefail
SSH_CONFIG=${1:?usage: k0s-shell.sh SSH_CONFIG FOLDER} FOLDER=${2:?}
K0S=/usr/local/bin/k0s
READY=$(mktemp -u)
trap 'rm -f "$READY"' EXIT

on() { ssh -F "$SSH_CONFIG" "$1" "set -euo pipefail; $(declare -f until_true); $2"; }

until_true() { # until_true SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "$(hostname): waited in vain for: $*" >&2 && return 1; }
    sleep 0.2
  done
}

copy() { # copy N FILES...: to where k0s looks for them
  tar --owner=0 --group=0 -chf - -C "$FOLDER" \
    --transform 's,^k0s$,usr/local/bin/k0s,;s,^k0s.yaml,etc/k0s/k0s.yaml,;s,^litelab.toml,etc/k0s/containerd.d/litelab.toml,;s,^images,var/lib/k0s/images,' \
    "${@:2}" | on "host-$1" 'tar -xf - -C /'
}

controller() {
  copy 1 k0s k0s.yaml litelab.toml
  on host-1 "chmod 600 /etc/k0s/k0s.yaml; $K0S install controller --config=/etc/k0s/k0s.yaml --disable-components=metrics-server,autopilot,helm,update-prober
    systemctl start k0scontroller
    until_true 240 $K0S kubectl --kubeconfig=/var/lib/k0s/pki/admin.conf get --raw /readyz" </dev/null
  touch "$READY"
}

worker() { # worker N
  copy "$1" k0s litelab.toml images
  until_true 300 test -e "$READY"
  on host-1 "$K0S token create --role=worker --expiry=1h" </dev/null |
    on "host-$1" "umask 077; cat >/etc/k0s/token; $K0S install worker --token-file=/etc/k0s/token --profile=litelab-container
      systemctl start k0sworker
      until_true 240 $K0S kubectl --kubeconfig=/var/lib/k0s/kubelet.conf wait --for=condition=Ready node/\$(hostname) --timeout=10s"
}

jobs=()
controller &
jobs+=($!)
for n in 2 3; do
  worker "$n" &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
on host-1 "until_true 180 $K0S kubectl --kubeconfig=/var/lib/k0s/pki/admin.conf -n kube-system rollout status deployment/coredns --timeout=20s" </dev/null
