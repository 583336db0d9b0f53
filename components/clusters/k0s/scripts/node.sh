#!/bin/bash
# node.sh state|create, on a host that joins: a worker, or a further controller. Input of create: the lab's settings, then the
# token; its file is overwritten when it has been used.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"
TOKEN=/etc/k0s/token

state() { if [ -e "$RUNNING" ]; then echo joined; else echo new; fi; }

# node_ready: what must be there before costs nothing to ask; k0s's kubectl is a large program to start.
node_ready() {
  [ -e "$DATA/kubelet.conf" ] || {
    echo 'the kubelet has not been given its certificate yet'
    return 1
  }
  compgen -G '/etc/cni/net.d/*.conf*' >/dev/null || {
    echo 'its network has not been configured yet (/etc/cni/net.d is empty); kube-router does that'
    return 1
  }
  "$K0S" kubectl --kubeconfig="$DATA/kubelet.conf" wait --for=condition=Ready "node/$NODE" --timeout=10s
}

# try_token: k0s itself repeats a refused one for minutes without a word.
try_token() {
  local said config=/run/litelab/k0s-join.kubeconfig
  (umask 077 && base64 -d <"$TOKEN" | gunzip >"$config") || die "what was given as a token is none. Run the same command again; it makes a new one."
  said=$("$K0S" kubectl --kubeconfig="$config" --request-timeout=20s get --raw /version 2>&1) || {
    rm -f "$config"
    die "the first controller does not take the token for this host: $(one_line "$said"). One ends within the hour, and when it is invalidated; the clocks of both hosts must agree. Run the same command again; it makes a new one."
  }
  rm -f "$config"
}

create() {
  local token flags first
  read_input
  IFS= read -r token
  # Staged anew since the host was prepared, perhaps.
  put_staged k0s "$K0S"
  first=${CONTROLLER_ADDRESSES%%,*}
  reach "the first controller's API" "$first" 6443 60
  mkdir -p "$(dirname "$TOKEN")"
  [ "$token" = none ] || (umask 077 && printf '%s\n' "$token" >"$TOKEN")
  configure_containerd
  if [ "${ROLE:?}" = worker ]; then
    [ "$token" = none ] || try_token
    mapfile -t flags < <(worker_flags)
    install_unit worker "--token-file=$TOKEN" "${flags[@]}"
    start_unit k0sworker 60
    wait_for "the node to be Ready" 240 k0sworker node_ready
  else
    reach "the first controller's join API" "$first" 9443 60
    configure
    mapfile -t flags < <(controller_flags)
    install_unit controller "--config=$CONFIG" "--token-file=$TOKEN" "${flags[@]}"
    start_controller
  fi
  echo '# used' >"$TOKEN"
  mark_running
  step_done node
}

case ${1:-} in
state | create) "$1" ;;
*) die "usage: node.sh state|create" ;;
esac
