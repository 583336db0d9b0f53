# shellcheck shell=bash
# What the double's commands and daemons share: places as MicroK8s has them.
# shellcheck disable=SC2034
SNAP_DATA=/var/snap/microk8s/current
SNAP_COMMON=/var/snap/microk8s/common
SNAP=/snap/microk8s/current
HERE=/usr/share/litelab-double/microk8s
PKI=$SNAP_DATA/certs
CREDENTIALS=$SNAP_DATA/credentials
LOCKS=$SNAP_DATA/var/lock
BACKEND=$SNAP_DATA/var/kubernetes/backend
SOCKET=$SNAP_COMMON/run/containerd.sock
STORE=unix://$BACKEND/kine.sock:12379
PORT=16443
AGENT_PORT=25000
POD_CIDR=10.1.0.0/16
SERVICE_CIDR=10.152.183.0/24
SERVICE_ADDRESS=10.152.183.1
DNS_ADDRESS=10.152.183.10
# shellcheck source=/dev/null
. /usr/share/litelab-double/behind.sh

ADDRESS=$(sed -n 's/^--node-ip=//p' "$SNAP_DATA/args/kubelet" 2>/dev/null | tail -n 1 || true)
ADDRESS=${ADDRESS:-$(default_address)}
VERSION=$(cat "$SNAP/version" 2>/dev/null || true)

is_worker() { [ -e "$LOCKS/clustered.lock" ]; }
argument() { sed -n "s/^$2=//p" "$SNAP_DATA/args/$1" | tail -n 1; } # argument SERVICE --FLAG
set_argument() { # set_argument SERVICE --FLAG VALUE
  sed -i "/^$2=/d" "$SNAP_DATA/args/$1"
  echo "$2=$3" >>"$SNAP_DATA/args/$1"
}
service() { systemctl "$1" "snap.microk8s.daemon-$2"; }
kubectl() { "$SNAP/kubectl" --kubeconfig="$CREDENTIALS/client.config" "$@"; }

addresses() { hostname -I | tr ' ' '\n' | grep -vE '^(10\.1\.|169\.254\.|$)' | grep -F . ; }
server_names() {
  local a names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,DNS:$NODE,IP:127.0.0.1,IP:$SERVICE_ADDRESS
  for a in $(addresses); do names+=,IP:$a; done
  printf '%s\n' "$names"
}

# certificates: what a control plane has, by its own authority.
certificates() {
  mkdir -p "$PKI" "$CREDENTIALS"
  chmod 700 "$PKI" "$CREDENTIALS"
  authority ca 10.152.183.1
  authority front-proxy-ca front-proxy-ca
  service_account_keys
  issue ca server /CN=127.0.0.1 "$(server_names)"
  issue ca cluster /CN=k8s "DNS:$NODE,IP:127.0.0.1,IP:$ADDRESS"
  issue ca apiserver-kubelet-client /CN=kube-apiserver-kubelet-client/O=system:masters
  issue front-proxy-ca front-proxy-client /CN=front-proxy-client
  issue ca client /CN=admin/O=system:masters
  issue ca controller /CN=system:kube-controller-manager
  issue ca scheduler /CN=system:kube-scheduler
  issue ca proxy /CN=system:kube-proxy
  issue ca kubelet "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$ADDRESS,IP:127.0.0.1"
  cat "$PKI/server.key" "$PKI/server.crt" >"$PKI/server.pem"
  kubeconfigs ca
  CONTEXT=microk8s kubeconfig "$CREDENTIALS/client.config" microk8s-cluster admin "https://127.0.0.1:$PORT" ca client
  kubeconfig "$CREDENTIALS/controller.config" microk8s-cluster controller "https://127.0.0.1:$PORT" ca controller
  kubeconfig "$CREDENTIALS/scheduler.config" microk8s-cluster scheduler "https://127.0.0.1:$PORT" ca scheduler
}

# kubeconfigs AUTHORITY: of what runs on every node.
kubeconfigs() {
  kubeconfig "$CREDENTIALS/kubelet.config" microk8s-cluster kubelet "https://127.0.0.1:$PORT" "$1" kubelet
  kubeconfig "$CREDENTIALS/proxy.config" microk8s-cluster kubeproxy "https://127.0.0.1:$PORT" "$1" proxy
}

# store_api PATH JSON: the datastore's own interface, over its socket.
store_api() {
  printf 'POST %s HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' "$1" "${#2}" "$2" |
    socat -t 20 -,ignoreeof "UNIX-CONNECT:$BACKEND/kine.sock\\:12379" | sed '1,/^\r*$/d'
}
members() { store_api /v3/cluster/member/list '{}' | grep -o 'https://[0-9.:]*' | sed 's|https://||' | sort -u; }
