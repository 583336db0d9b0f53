# shellcheck shell=bash
# Sourced by steps on a controller, after step.sh and a function kubectl of the distribution's: what every cluster must show.

# all_ready: the nodes of NODES, no others, are Ready.
all_ready() {
  local seen
  seen=$(kubectl get nodes --no-headers) || return
  printf '%s\n' "$seen" | awk '{ printf "%s is %s; ", $1, $2 }'
  [ "$(printf '%s\n' "$seen" | awk '$2 == "Ready" { print $1 }' | sort)" = "$(printf '%s\n' "${NODES//,/$'\n'}" | sort)" ]
}

# all_open: a node that is Ready still repels pods until the controller manager has seen it.
all_open() {
  local taints
  taints=$(kubectl get nodes -o jsonpath='{.items[*].spec.taints[*].key}') || return
  echo "the nodes' taints are: $taints"
  [[ $taints != *node.kubernetes.io/* && $taints != *node.cloudprovider.kubernetes.io/* ]]
}

nodes_ready() { # nodes_ready UNIT
  wait_for "the nodes $NODES to be Ready" 180 "$1" all_ready
  wait_for "all nodes to take pods" 90 "$1" all_open
}

# remove_strangers UNIT: nodes of hosts that the lab no longer has.
remove_strangers() {
  local node
  for node in $(kubectl get nodes -o name); do
    [[ ,$NODES, == *",${node#node/},"* ]] || kubectl delete "$node" --timeout=60s >/dev/null || die "the node ${node#node/} of a host that is gone could not be removed; the journal of $1 ends:
$(journal "$1")"
  done
}

# follow_taint KEY VALUE: a kubelet taints its node at its first registration alone; the setting may have changed since.
follow_taint() {
  local node
  for node in $(kubectl get nodes -l node-role.kubernetes.io/control-plane -o name); do
    node=${node#node/}
    if [ "$RUNS_WORKLOADS" != true ]; then
      kubectl taint --overwrite node "$node" "$1=$2:NoSchedule" >/dev/null
    elif [ -n "$(kubectl get node "$node" -o jsonpath="{.spec.taints[?(@.key==\"$1\")].key}")" ]; then
      kubectl taint node "$node" "$1-" >/dev/null
    fi
  done
}

as_wanted() { # as_wanted HOST VERSION: a host that is no node has no kubelet to ask
  local says
  says=$(kubectl get node "$1" --ignore-not-found -o jsonpath='{.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status}') || return
  echo "node $1 has the kubelet and is Ready: ${says:-no node}"
  # k0s's kubelets leave out the last part of v1.34.10+k0s.0.
  case $says in "" | "$2 True" | "${2%%+*} True" | "${2%.[0-9]*} True") return 0 ;; *) return 1 ;; esac
}

node_runs() { # node_runs UNIT HOST VERSION: after an upgrade
  wait_for "node $2 to be Ready with version $3" 240 "$1" as_wanted "$2" "$3"
}
