# shellcheck shell=bash
# For doubles of distributions that are one program, K3s and k0s: control plane, runtime and node as its children, upstream's own.
# Sourced after behind.sh. The caller sets: PKI, NODE, ADDRESS, PORT, SERVICE_CIDR, SERVICE_ADDRESS, POD_CIDR, DNS_ADDRESS,
# SOCKET (of the runtime), links (folder of programs).
# shellcheck disable=SC2154 # set by the caller

log() { printf 'time="%s" level=%s msg="%s"\n' "$(date -u +%FT%TZ)" "$1" "$2"; }

kubectl() { "$links/kubectl" "$@"; }
ctr() { "$DOUBLE/upstream/bin/ctr" --address "$SOCKET" -n k8s.io "$@"; }

# certificates NAME SANS: the authority ca, what the API server shows and asks with, and those of its own components.
certificates() {
  local sans=DNS:$NODE,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
  authority ca "$1-ca"
  authority front-proxy-ca "$1-front-proxy-ca"
  service_account_keys
  issue ca leaf "/CN=$1" "$sans,IP:127.0.0.1,IP:$ADDRESS,IP:$SERVICE_ADDRESS$2"
  cat "$PKI/leaf.crt" "$PKI/ca.crt" >"$PKI/server.crt"
  cp "$PKI/leaf.key" "$PKI/server.key"
  issue ca apiserver-kubelet-client /CN=system:apiserver/O=system:masters
  issue front-proxy-ca front-proxy-client /CN=system:auth-proxy
  issue ca admin /CN=system:admin/O=system:masters
  issue ca controller /CN=system:kube-controller-manager
  issue ca scheduler /CN=system:kube-scheduler
}

# control_plane FOLDER: etcd, API server, controller manager and scheduler, until the API is ready; KUBECONFIG is the administrator's.
control_plane() {
  local flags name apiserver
  mkdir -p "$1/cred"
  for name in controller scheduler; do kubeconfig "$1/cred/$name.kubeconfig" local "$name" "https://127.0.0.1:$PORT" ca "$name"; done
  "$DOUBLE/upstream/bin/etcd" --name=default --data-dir="$1/db" --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 --initial-cluster=default=http://127.0.0.1:2380 >>"$1/etcd.log" 2>&1 &
  mapfile -t flags < <(apiserver_flags http://127.0.0.1:2379 "$SERVICE_CIDR" Node,RBAC --enable-admission-plugins=NodeRestriction --enable-bootstrap-token-auth | grep -v kubelet-certificate-authority)
  "$links/kube-apiserver" "${flags[@]}" &
  apiserver=$!
  until kubectl get --raw /readyz >/dev/null 2>&1; do
    kill -0 "$apiserver" 2>/dev/null || fatal "kube-apiserver exited"
    sleep 0.2
  done
  "$links/kube-controller-manager" --bind-address=127.0.0.1 --kubeconfig="$1/cred/controller.kubeconfig" --authentication-kubeconfig="$1/cred/controller.kubeconfig" \
    --authorization-kubeconfig="$1/cred/controller.kubeconfig" --use-service-account-credentials --service-account-private-key-file="$PKI/serviceaccount.key" \
    --root-ca-file="$PKI/ca.crt" --allocate-node-cidrs --cluster-cidr="$POD_CIDR" --service-cluster-ip-range="$SERVICE_CIDR" --leader-elect=false \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" --controllers='*,tokencleaner' &
  "$links/kube-scheduler" --bind-address=127.0.0.1 --kubeconfig="$1/cred/scheduler.kubeconfig" --authentication-kubeconfig="$1/cred/scheduler.kubeconfig" \
    --authorization-kubeconfig="$1/cred/scheduler.kubeconfig" --leader-elect=false &
}

# addons DNS_IMAGE: what tokens and nodes may, and DNS.
addons() { within 120 apply_addons "$1" || fatal "the add-ons could not be applied"; }
apply_addons() { sed "s|@DNS@|$DNS_ADDRESS|; s|@IMAGE@|$1|" "$DOUBLE/addons.yaml" | kubectl apply --server-side -f -; }

# start_runtime CONFIG STATE CNI_CONF CNI_BIN LOG IMAGES...: containerd, with the images that there are.
start_runtime() {
  local tar config=$1
  mkdir -p "$3" "$4" "$(dirname "$SOCKET")" "$(dirname "$1")"
  cp -n "$DOUBLE"/upstream/cni/* "$4/"
  containerd_config "$SOCKET" "$2" "$3" "$4" >"$1"
  # What outlives the double, as shims outlive the real one, is shims alone.
  PATH=$DOUBLE/upstream/bin:$PATH "$DOUBLE/upstream/bin/containerd" --config "$config" >>"$5" 2>&1 &
  within 120 ctr version || fatal "containerd does not answer"
  for tar in "${@:6}"; do
    [ ! -e "$tar" ] || ctr images import "$tar" >/dev/null || fatal "failed to import $tar"
  done
}

# start_node FOLDER KUBECONFIG CLIENT_CA CNI_CONF INTERFACE FLAGS...: kubelet, proxy and network with a kubeconfig that appears by itself.
start_node() {
  kubelet_config "$DNS_ADDRESS" "$3" "$SOCKET" | sed '/^tlsCertFile\|^tlsPrivateKeyFile/d' >"$1/kubelet.yaml"
  proxy_config "$2" "$POD_CIDR" >"$1/proxy.yaml"
  "$links/kubelet" --config="$1/kubelet.yaml" --kubeconfig="$2" --hostname-override="$NODE" --node-ip="$ADDRESS" "${@:6}" &
  # Without limit, as the real ones: a token that is refused is tried for ever.
  until [ -s "$2" ]; do sleep 0.2; done
  "$links/kube-proxy" --config="$1/proxy.yaml" --hostname-override="$NODE" &
  network "$5" "$2" "$4" "$POD_CIDR" &
}

# bootstrap_token USAGE TTL LINES...: ID.SECRET of a new one. TTL as 30s, 10m, 1h; 0s never ends.
bootstrap_token() {
  local id secret ends='' unit
  id=$(openssl rand -hex 3) secret=$(openssl rand -hex 8)
  case $2 in *h) unit=hours ;; *m) unit=minutes ;; *) unit=seconds ;; esac
  [ "$2" = 0s ] || ends="  expiration: \"$(date -u -d "+${2%?} $unit" +%FT%TZ)\""
  {
    printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: bootstrap-token-%s, namespace: kube-system}\ntype: bootstrap.kubernetes.io/token\nstringData:\n' "$id"
    printf '  %s\n' "token-id: \"$id\"" "token-secret: \"$secret\"" "usage-$1: \"true\"" "${@:3}"
    printf '%s\n' "$ends"
  } | kubectl create -f - >/dev/null || return
  printf '%s.%s\n' "$id" "$secret"
}

# stop_all: children are ended before systemd ends the program, which leaves them; nothing that is left could be started again.
stop_all() {
  # shellcheck disable=SC2046 # process ids
  kill $(jobs -p) 2>/dev/null
  pkill -TERM -x flanneld
  for _ in $(seq 40); do
    [ -n "$(jobs -pr)" ] || return 0
    sleep 0.1
  done
  # shellcheck disable=SC2046 # process ids
  kill -KILL $(jobs -p) 2>/dev/null
  wait
}

# until_stopped: waits while all of it runs.
until_stopped() {
  wait -n
  log fatal "a part of it ended"
  stop_all
  exit 1
}
trap 'stop_all; exit 0' TERM
