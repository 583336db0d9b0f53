# shellcheck shell=bash
# What runs behind doubles: real upstream Kubernetes, from the programs that set-up builds. Sourced by the doubles' own commands on a host.
# The caller sets: PKI (folder of certificates), CREDENTIALS (of kubeconfigs), PORT (of the API server), ADDRESS.
# shellcheck disable=SC2034,SC2154 # set here for the caller, or by it

DOUBLE=/usr/share/litelab-double
# A unit has no home, and kubectl would keep its cache in /.kube.
export KUBECACHEDIR=/run/litelab-double/kubecache
NODE=$(hostname)

# within SECONDS COMMAND...: waits until it succeeds; 1 when the time is up.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

COREDNS_IMAGE=docker.io/litelab/coredns:1.14.1

default_address() { ip -o -4 addr show scope global | awk '$2 !~ /^(cni|flannel|veth)/ { sub(/\/.*/, "", $4); print $4; exit }'; }

# authority NAME CN: a certificate authority of its own.
authority() {
  [ ! -f "$PKI/$1.crt" ] || return 0
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$2" -keyout "$PKI/$1.key" -out "$PKI/$1.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature,keyCertSign,cRLSign 2>/dev/null
}

# request NAME SUBJECT: a key, and a request for its certificate on standard output.
request() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$PKI/$1.key" 2>/dev/null; }

# sign AUTHORITY SANS: signs the request on standard input; the certificate is printed.
sign() {
  openssl x509 -req -days 365 -CA "$PKI/$1.crt" -CAkey "$PKI/$1.key" -set_serial "0x$(openssl rand -hex 12)" -extfile <(
    echo basicConstraints=critical,CA:FALSE
    echo keyUsage=critical,digitalSignature,keyEncipherment
    echo extendedKeyUsage=serverAuth,clientAuth
    [ -z "$2" ] || echo "subjectAltName=$2"
  ) 2>/dev/null
}

# issue AUTHORITY NAME SUBJECT [SANS]
issue() { request "$2" "$3" | sign "$1" "${4:-}" >"$PKI/$2.crt"; }

service_account_keys() {
  [ -f "$PKI/serviceaccount.key" ] || openssl genrsa -out "$PKI/serviceaccount.key" 2048 2>/dev/null
  openssl rsa -in "$PKI/serviceaccount.key" -pubout -out "$PKI/serviceaccount.pub" 2>/dev/null
}

# kubeconfig FILE CLUSTER USER SERVER AUTHORITY CERTIFICATE
kubeconfig() {
  cat >"$1" <<YAML
apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: $(base64 -w0 <"$PKI/$5.crt")
    server: $4
  name: $2
contexts:
- context:
    cluster: $2
    user: $3
  name: ${CONTEXT:-$2}
current-context: ${CONTEXT:-$2}
users:
- name: $3
  user:
    client-certificate-data: $(base64 -w0 <"$PKI/$6.crt")
    client-key-data: $(base64 -w0 <"$PKI/$6.key")
YAML
  chmod 600 "$1"
}

can_lower_oom() { [ $((0x$(awk '/^CapEff/ { print $2 }' /proc/self/status) >> 24 & 1)) = 1 ]; }
cgroup_v2() { [ -f /sys/fs/cgroup/cgroup.controllers ]; }

# containerd_config SOCKET STATE CNI_CONF CNI_BIN [CERTS]: as set-up's containerd takes it. Its root is /var/lib/containerd, which is no overlay.
containerd_config() {
  local restrict=true systemd=false
  ! can_lower_oom || restrict=false
  ! cgroup_v2 || systemd=true
  cat <<TOML
version = 2
root = "/var/lib/containerd"
state = "$2"
[grpc]
  address = "$1"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/litelab/pause:1"
  restrict_oom_score_adj = $restrict
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$4"
    conf_dir = "$3"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "$DOUBLE/upstream/bin/runc"
      SystemdCgroup = $systemd
TOML
  [ -z "${5:-}" ] || printf '  [plugins."io.containerd.grpc.v1.cri".registry]\n    config_path = "%s"\n' "$5"
}

# kubelet_config DNS CLIENT_CA SOCKET
kubelet_config() {
  local gates='{}' driver=cgroupfs
  can_lower_oom || gates='{KubeletInUserNamespace: true}'
  ! cgroup_v2 || driver=systemd
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
clusterDNS: [$1]
clusterDomain: cluster.local
cgroupDriver: $driver
containerRuntimeEndpoint: unix://$3
featureGates: $gates
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $2}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
failSwapOn: false
failCgroupV1: false
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
YAML
}

# proxy_config KUBECONFIG POD_CIDR
proxy_config() {
  cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
clientConnection: {kubeconfig: $1}
clusterCIDR: $2
mode: iptables
conntrack: {maxPerCore: 0, min: 0}
YAML
}

# programs VERSION: folder of links by which the multi-call binary knows what it is.
programs() {
  local links=/run/litelab-double/$1 program binary=$DOUBLE/upstream/bin/kubernetes
  [ ! -e "$DOUBLE/kubernetes-$1" ] || binary=$DOUBLE/kubernetes-$1
  mkdir -p "$links"
  for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do ln -sfn "$binary" "$links/$program"; done
  printf '%s\n' "$links"
}

# apiserver_flags ETCD SERVICE_CIDR AUTHORIZATION [MORE...]: without those of etcd's certificates.
apiserver_flags() {
  printf '%s\n' "--advertise-address=$ADDRESS" "--secure-port=$PORT" "--authorization-mode=$3" --allow-privileged=true \
    "--client-ca-file=$PKI/ca.crt" "--tls-cert-file=$PKI/server.crt" "--tls-private-key-file=$PKI/server.key" "--etcd-servers=$1" \
    "--kubelet-client-certificate=$PKI/apiserver-kubelet-client.crt" "--kubelet-client-key=$PKI/apiserver-kubelet-client.key" \
    "--kubelet-certificate-authority=$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP,Hostname "--service-cluster-ip-range=$2" \
    --service-account-issuer=https://kubernetes.default.svc "--service-account-key-file=$PKI/serviceaccount.pub" \
    "--service-account-signing-key-file=$PKI/serviceaccount.key" "--requestheader-client-ca-file=$PKI/front-proxy-ca.crt" \
    --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- "--proxy-client-cert-file=$PKI/front-proxy-client.crt" \
    "--proxy-client-key-file=$PKI/front-proxy-client.key" "${@:4}"
}

# network INTERFACE KUBECONFIG CNI_CONF POD_CIDR: flannel until it ends; the pods' network once this node has its subnet.
network() {
  local base=/run/litelab-double
  mkdir -p "$base" "$3"
  printf '{"Network":"%s","EnableIPv4":true,"Backend":{"Type":"vxlan"}}\n' "$4" >"$base/flannel.json"
  (
    until [ -s /run/flannel/subnet.env ]; do sleep 0.2; done
    set -a
    # shellcheck disable=SC1091
    . /run/flannel/subnet.env
    set +a
    cat >"$3/.10-double" <<JSON
{"cniVersion": "1.0.0", "name": "double", "plugins": [
  {"type": "bridge", "bridge": "cni0", "mtu": $FLANNEL_MTU, "isDefaultGateway": true, "hairpinMode": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "${FLANNEL_SUBNET/.1\//.0\/}"}]], "routes": [{"dst": "$FLANNEL_NETWORK"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
    mv "$3/.10-double" "$3/10-double.conflist"
  ) &
  while :; do
    NODE_NAME=$NODE "$DOUBLE/upstream/bin/flanneld" "-kubeconfig=$2" "-net-conf=$base/flannel.json" "-iface=$1" || true
    sleep 0.3
  done
}

# images: set-up's own, into the runtime.
images() { # images SOCKET
  local tar
  for tar in "$DOUBLE"/upstream/images/*.tar; do "$DOUBLE/upstream/bin/ctr" --address "$1" -n k8s.io images import "$tar" >/dev/null; done
}

# remove_network: what pods and flannel left in the kernel.
remove_network() {
  local link table name shim
  # A shim's containers outlive it, and their networks with them.
  for shim in $(pgrep -f "^$DOUBLE/upstream/bin/containerd-shim"); do pkill -KILL -P "$shim" || true; done
  pkill -KILL -f "^$DOUBLE/upstream/bin/containerd-shim" 2>/dev/null || true
  awk '$5 ~ "^/(run/containerd|var/lib/kubelet/.|run/netns|var/snap|run/crio)" { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l 2>/dev/null || true
  for link in cni0 flannel.1; do ip link del "$link" 2>/dev/null || true; done
  for name in $(ip netns list 2>/dev/null | awk '/^cni-/ { print $1 }'); do ip netns del "$name" 2>/dev/null || true; done
  # The kernel takes its time with a network that nobody uses any more.
  for _ in $(seq 50); do
    ip -br link | grep -q '^veth' || break
    sleep 0.1
  done
  for table in nat filter mangle; do
    iptables-save -t "$table" 2>/dev/null | grep -vE 'KUBE-|FLANNEL|CNI-' | iptables-restore -T "$table" 2>/dev/null || true
  done
  rm -rf /run/flannel /var/lib/cni
  find /var/lib/kubelet /var/lib/containerd -mindepth 1 ! -name lost+found -delete 2>/dev/null || true
}
