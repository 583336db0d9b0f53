#!/bin/bash
# verify.sh create, on the first controller: the cluster is what the lab asks for. Input: NODES, which hosts must be nodes, and
# their ADDRESSES, by which nodes are known: their names are the hosts' own. Prints the administrator's kubeconfig, with a context a
# controller.
# verify.sh node HOST VERSION: that node is Ready and runs it, after an upgrade.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microk8s.sh
. "$(dirname "$0")/microk8s.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/cluster.sh
. "$(dirname "$0")/cluster.sh"

# Hosts that left the lab do not leave by themselves, and a controller has a vote in the datastore, too.
remove_others() {
  local node address
  while read -r node address; do
    if [ "$node" = "$NODE_NAME" ] || [[ ,$ADDRESSES, == *",$address,"* ]]; then continue; fi
    timeout -k 5 120 "$MICROK8S" remove-node "$node" --force >/dev/null ||
      die "$node is no host of this lab any more, and 'microk8s remove-node $node --force' failed. Run the same command again."
  done < <(nodes)
}

# by_own_names: NODES as the cluster has them.
by_own_names() {
  local seen host address name found=() hosts=()
  seen=$(nodes)
  IFS=, read -ra hosts <<<"$NODES"
  for host in "${hosts[@]}"; do
    address=${ADDRESSES%%,*} ADDRESSES=${ADDRESSES#*,}
    name=$(awk -v a="$address" '$2 == a { print $1; exit }' <<<"$seen")
    found+=("${name:-$(node_of "$host")}")
  done
  NODES=$(IFS=,; echo "${found[*]}")
}

# A control plane is known by a label of MicroK8s' own, and has no taint.
label_controllers() {
  local node
  for node in $(kubectl get nodes -l node.kubernetes.io/microk8s-controlplane -o name); do kubectl label --overwrite "$node" "$TAINT=" >/dev/null; done
}

rolled_out() { kubectl -n kube-system rollout status "$1" --timeout=30s; }

highly_available() {
  local seen
  seen=$(timeout -k 5 60 "$MICROK8S" status --wait-ready --timeout 30) || return
  grep -A 3 '^high-availability' <<<"$seen"
  grep -q '^high-availability: yes' <<<"$seen"
}

asks_who() {
  local answer
  answer=$(kubectl auth can-i '*' '*' --as=nobody-of-this-lab 2>&1 || true)
  echo "may somebody without rights do everything? $answer"
  [ "${answer##*$'\n'}" = no ]
}

create() {
  read_input
  remove_others
  by_own_names
  label_controllers
  follow_taint "$TAINT" ''
  nodes_ready "$UNIT"
  [ -z "$(kubectl -n kube-system get daemonset calico-node --ignore-not-found -o name)" ] || wait_for "Calico on every node" 240 "$UNIT" rolled_out daemonset/calico-node
  wait_for "cluster DNS" 240 "$UNIT" rolled_out deployment/coredns
  [ "$CONTROLLERS" = 1 ] || wait_for "the datastore to survive the loss of a controller (high-availability: yes)" 180 snap.microk8s.daemon-k8s-dqlite highly_available
  [ "$ADDONS" != minimal ] || wait_for "RBAC to be in force" 60 "$UNIT" asks_who
  step_done verify >&2
  "$MICROK8S" config || die "'microk8s config' gave no kubeconfig."
}

upgraded() {
  local says
  says=$(kubectl get node "$1" -o jsonpath='{.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status}') || return
  echo "node $1 has the kubelet and is Ready: $says"
  [[ $says == "${2%%+rev*} True" || $says == "${2%%+rev*}."*" True" ]]
}

case ${1:-} in
create) create ;;
node) wait_for "$2 to be Ready with $3" 240 "$UNIT" upgraded "$(node_of "$2")" "$3" ;;
*) die "usage: verify.sh create | node HOST VERSION" ;;
esac
