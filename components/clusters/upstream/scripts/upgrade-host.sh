#!/bin/bash
# upgrade-host.sh create, on a host: the programs that stage.sh copied take the place of those that run, without a moment in which
# one is missing. What runs an old one is restarted: the control plane first, the kubelet last. Containers run on meanwhile.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=runtime.sh
. "$(dirname "$0")/runtime.sh"
KUBE=/etc/kubernetes
INCOMING=$BASE/incoming

# put_files: by renames. The list is put last: while it is not there, this is begun again.
put_files() {
  local kind path
  [ -r "$INCOMING/list" ] || return 0
  rm -f "$BASE/list" "$BASE/.digest"
  for kind in bin cni images; do
    for path in "$BASE/$kind"/*; do
      [ -e "$INCOMING/$kind/${path##*/}" ] || rm -f "$path"
    done
    for path in "$INCOMING/$kind"/*; do
      cmp -s "$path" "$BASE/$kind/${path##*/}" || mv -f "$path" "$BASE/$kind/"
    done
  done
  mv "$INCOMING/list" "$BASE/list"
  rm -rf "$INCOMING"
}

# is_old UNIT: it runs a program that has been replaced, or does not run.
is_old() {
  local pid
  pid=$(systemctl show -p MainPID --value "$1")
  [ "$pid" = 0 ] || [[ $(readlink "/proc/$pid/exe") == *' (deleted)' ]]
}

# renew UNIT SECONDS
renew() { ! is_old "$1" || start_unit "$1" "$2"; }
try_renew() { ! is_old "$1" || systemctl restart "$1"; }

as_staged() {
  local says
  says=$(kubectl --kubeconfig="$KUBE/kubelet.conf" get node "$NODE" -o jsonpath='{.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status}') || return
  echo "the node's kubelet and whether it is Ready: $says"
  [ "$says" = "$(staged_version) True" ]
}

create() {
  local unit
  read_input
  put_files
  if [ -e /etc/systemd/system/kube-apiserver.service ]; then
    renew etcd 60
    renew kube-apiserver 90
    wait_for "the API server to be ready" 90 kube-apiserver kubectl --kubeconfig="$KUBE/admin.conf" get --raw '/readyz?verbose=false'
    for unit in kube-controller-manager kube-scheduler; do
      # It may end by itself as its API server is restarted, and then the job to restart it fails.
      wait_for "$unit to start" 30 "$unit" try_renew "$unit"
    done
  fi
  configure_containerd
  systemctl daemon-reload
  renew containerd 60
  import_images
  for unit in flanneld kube-proxy kubelet; do renew "$unit" 60; done
  wait_for "the node to be Ready with $(staged_version)" 180 kubelet as_staged
  mark_running
  step_done upgrade
}

case ${1:-} in
create) create ;;
*) die "usage: upgrade-host.sh create" ;;
esac
