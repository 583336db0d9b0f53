#!/usr/bin/env bash
# cluster.sh up|down FOLDER: the default lab by shell alone, as a person would write it: the same programs, certificates,
# units and waits, in parallel wherever nothing forbids it. Nothing of it calls the lab's own scripts but pki.py, or the
# figure would not see what they waste. cluster.py holds the files that both leave on the hosts against each other.
# CLUSTER is the cluster's name.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=hosts.sh
. "$(dirname "$0")/hosts.sh"
ARTIFACTS=$LITELAB_CACHE/artifacts/upstream

# What follows runs on hosts, sent there as text.

settings() {
  BASE=/opt/litelab/upstream KUBE=/etc/kubernetes NODE=$(hostname)
  export PATH=$BASE/links:$BASE/bin:$PATH GOMAXPROCS=2
}

until_true() { # until_true SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "$NODE: waited in vain for: $*" >&2 && return 1; }
    sleep 0.2
  done
}

prepare() {
  local program image
  mkdir -p "$BASE/links" /etc/containerd /etc/cni/net.d
  for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -s "$BASE/bin/kubernetes" "$BASE/links/$program"
  done
  ln -s "$BASE/links/kubectl" /usr/local/bin/kubectl
  local restrict=true systemd=false
  [ $((0x$(awk '/^CapEff/ { print $2 }' /proc/self/status) >> 24 & 1)) = 0 ] || restrict=false
  [ ! -f /sys/fs/cgroup/cgroup.controllers ] || systemd=true
  cat >/etc/containerd/config.toml <<TOML
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/litelab/pause:1"
  restrict_oom_score_adj = $restrict
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$BASE/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "$BASE/bin/runc"
      SystemdCgroup = $systemd
TOML
  cat >/etc/systemd/system/containerd.service <<UNIT
[Unit]
Description=containerd
After=network.target

[Service]
Type=notify
Environment=PATH=$BASE/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=$BASE/bin/containerd
Delegate=yes
KillMode=process
Restart=always
RestartSec=1
LimitNOFILE=infinity
TasksMax=infinity

[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl start containerd
  for image in "$BASE"/images/*.tar; do ctr -n k8s.io images import "$image" >/dev/null; done
}

unit() { # unit NAME TYPE AFTER DESCRIPTION COMMAND
  cat >"/etc/systemd/system/$1.service" <<UNIT
[Unit]
Description=$4
After=network.target $3

[Service]
Type=$2
ExecStart=$5
Restart=always
RestartSec=1
LimitNOFILE=1048576
OOMScoreAdjust=0

[Install]
WantedBy=multi-user.target
UNIT
}

controller() { # controller ADDRESS CLUSTER, the host's files on standard input
  base64 -d | tar -xzf - -C /
  local pki=$KUBE/pki
  install -d -m 700 /var/lib/etcd
  unit etcd notify "" "etcd, the cluster's datastore" "$BASE/bin/etcd --name=$NODE --data-dir=/var/lib/etcd \
--listen-client-urls=https://127.0.0.1:2379 --advertise-client-urls=https://127.0.0.1:2379 \
--listen-peer-urls=https://127.0.0.1:2380 --initial-advertise-peer-urls=https://127.0.0.1:2380 \
--initial-cluster=$NODE=https://127.0.0.1:2380 --client-cert-auth --peer-client-cert-auth \
--cert-file=$pki/etcd.crt --key-file=$pki/etcd.key --trusted-ca-file=$pki/ca.crt \
--peer-cert-file=$pki/etcd.crt --peer-key-file=$pki/etcd.key --peer-trusted-ca-file=$pki/ca.crt"
  unit kube-apiserver notify etcd.service "Kubernetes API server" "$BASE/links/kube-apiserver --advertise-address=$1 --secure-port=6443 \
--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --anonymous-auth=false --allow-privileged=true \
--client-ca-file=$pki/ca.crt --tls-cert-file=$pki/apiserver.crt --tls-private-key-file=$pki/apiserver.key \
--etcd-servers=https://127.0.0.1:2379 --etcd-cafile=$pki/ca.crt --etcd-certfile=$pki/etcd-client.crt --etcd-keyfile=$pki/etcd-client.key \
--kubelet-client-certificate=$pki/kubelet-client.crt --kubelet-client-key=$pki/kubelet-client.key --kubelet-certificate-authority=$pki/ca.crt \
--kubelet-preferred-address-types=InternalIP,Hostname --service-cluster-ip-range=10.96.0.0/16 \
--service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file=$pki/sa.pub --service-account-signing-key-file=$pki/sa.key \
--requestheader-client-ca-file=$pki/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User \
--requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
--proxy-client-cert-file=$pki/front-proxy-client.crt --proxy-client-key-file=$pki/front-proxy-client.key"
  unit kube-controller-manager simple kube-apiserver.service "Kubernetes controller manager" "$BASE/links/kube-controller-manager --bind-address=127.0.0.1 \
--kubeconfig=$KUBE/controller-manager.conf --authentication-kubeconfig=$KUBE/controller-manager.conf --authorization-kubeconfig=$KUBE/controller-manager.conf \
--use-service-account-credentials --service-account-private-key-file=$pki/sa.key --root-ca-file=$pki/ca.crt --leader-elect=false \
--allocate-node-cidrs --cluster-cidr=10.244.0.0/16 --service-cluster-ip-range=10.96.0.0/16 --cluster-name=$2"
  unit kube-scheduler simple kube-apiserver.service "Kubernetes scheduler" "$BASE/links/kube-scheduler --bind-address=127.0.0.1 --leader-elect=false \
--kubeconfig=$KUBE/scheduler.conf --authentication-kubeconfig=$KUBE/scheduler.conf --authorization-kubeconfig=$KUBE/scheduler.conf"
  systemctl daemon-reload
  systemctl enable -q etcd kube-apiserver kube-controller-manager kube-scheduler
  systemctl start etcd
  systemctl start kube-apiserver
  systemctl start kube-controller-manager kube-scheduler
  export KUBECONFIG=$KUBE/admin.conf
  until_true 90 kubectl get --raw /readyz
  until_true 60 kubectl get clusterrole system:node-proxier -o name
  sed 's|@DNS@|10.96.0.10|; s|@COREDNS@|docker.io/litelab/coredns:1.14.1|; s|@FORWARD@||' "$BASE/scripts/addons.yaml" |
    kubectl apply --server-side -f - >/dev/null
}

node() { # node ADDRESS TAINT, the host's files on standard input
  base64 -d | tar -xzf - -C /
  local taints='' gates='{}' driver=cgroupfs
  [ "$2" != true ] || taints='registerWithTaints: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]'
  [ $((0x$(awk '/^CapEff/ { print $2 }' /proc/self/status) >> 24 & 1)) = 1 ] || gates='{KubeletInUserNamespace: true}'
  [ ! -f /sys/fs/cgroup/cgroup.controllers ] || driver=systemd
  cat >"$KUBE/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
cgroupDriver: $driver
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
featureGates: $gates
# From 1.35 on a kubelet refuses cgroup v1 unless it is told so.
failCgroupV1: false
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $KUBE/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $KUBE/pki/kubelet.crt
tlsPrivateKeyFile: $KUBE/pki/kubelet.key
$taints
# The disk and the swap are the machine's own: how full they are says nothing about the lab. Pods are not swapped (memorySwap).
failSwapOn: false
memorySwap: {swapBehavior: NoSwap}
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
YAML
  printf '{"Network":"10.244.0.0/16","EnableIPv4":true,"Backend":{"Type":"vxlan"}}\n' >"$KUBE/flannel.json"
  cat >"$KUBE/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
clientConnection: {kubeconfig: $KUBE/kube-proxy.conf}
clusterCIDR: 10.244.0.0/16
mode: iptables
# A host that is a container may not size the machine's connection table.
conntrack: {maxPerCore: 0, min: 0}
YAML
  cat >/etc/systemd/system/kubelet.service <<UNIT
[Unit]
Description=kubelet
After=containerd.service
Requires=containerd.service

[Service]
Environment=PATH=$BASE/links:$BASE/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=$BASE/links/kubelet --config=$KUBE/kubelet.yaml --kubeconfig=$KUBE/kubelet.conf --hostname-override=$NODE --node-ip=$1
Restart=always
RestartSec=1
KillMode=process

[Install]
WantedBy=multi-user.target
UNIT
  cat >/etc/systemd/system/kube-proxy.service <<UNIT
[Unit]
Description=kube-proxy
After=network.target

[Service]
ExecStart=$BASE/links/kube-proxy --config=$KUBE/kube-proxy.yaml --hostname-override=$NODE
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
UNIT
  cat >/etc/systemd/system/flanneld.service <<UNIT
[Unit]
Description=flannel, pods across hosts
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
Environment=NODE_NAME=$NODE
ExecStart=$BASE/bin/flanneld -kubeconfig=$KUBE/flannel.conf -net-conf=$KUBE/flannel.json -iface=eth0
ExecStartPost=$BASE/scripts/cni-conf.sh
Restart=always
RestartSec=300ms

[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl enable -q containerd kubelet kube-proxy flanneld
  systemctl start --no-block kubelet kube-proxy flanneld
  until_true 120 kubectl --kubeconfig="$KUBE/kubelet.conf" wait --for=condition=Ready "node/$NODE" --timeout=20s
}

nodes_ready() { [ "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" -eq 3 ]; }

nodes_open() {
  local taints
  taints=$(kubectl get nodes -o jsonpath='{.items[*].spec.taints[*].key}') && [[ $taints != *node.kubernetes.io/* ]]
}

verify() {
  export KUBECONFIG=$KUBE/admin.conf
  kubectl label --overwrite node "$NODE" node-role.kubernetes.io/control-plane= >/dev/null
  until_true 60 nodes_ready
  until_true 60 nodes_open
  until_true 90 kubectl -n kube-system rollout status deployment/coredns --timeout=30s
}

# From here on the operator's machine again.

# run N CALL FUNCTIONS...: CALL on host N, with the functions that it needs.
run() { on "$1" "set -euo pipefail; $(declare -f settings until_true "${@:3}"); settings; $2"; }

certificates() { # certificates N
  local role=worker
  [ "$1" -ne 1 ] || role=controller
  printf '{"ca": %s, "name": "host-%d", "address": "%s.%d", "role": "%s", "cluster": "%s", "server": "https://%s.11:6443", "serviceAddress": "10.96.0.1"}' \
    "$(cat "$DIR/ca.json")" "$1" "$PREFIX" $((10 + $1)) "$role" "$CLUSTER" "$PREFIX" | "$COMPONENTS/clusters/upstream/scripts/pki.py" create host |
    sed -E 's/^\{"files": "([^"]*)".*/\1/' >"$DIR/files-$1.new"
  mv "$DIR/files-$1.new" "$DIR/files-$1"
}

there() { # there FILE: wait until another job has made it
  local n
  for n in $(seq 3600); do
    [ ! -e "$1" ] || return 0
    sleep 0.05
  done
  echo "$1 did not come within $n waits" >&2
  return 1
}

host() { # host N: one host from nothing to a node that is Ready
  local address=$PREFIX.$((10 + $1)) taint=false
  machine "$1"
  tar --owner=0 --group=0 --transform 's,^\(addons.yaml\|cni-conf.sh\)$,scripts/\1,' -cf - -C "$ARTIFACTS" bin cni images \
    -C "$COMPONENTS/clusters/upstream/scripts" addons.yaml cni-conf.sh | run "$1" "mkdir -p \$BASE; tar -xf - -C \$BASE; prepare" prepare
  there "$DIR/files-$1"
  if [ "$1" -eq 1 ]; then
    taint=true
    run 1 "controller $address $CLUSTER" controller unit <"$DIR/files-1"
    touch "$DIR/api-is-ready"
  fi
  there "$DIR/api-is-ready"
  run "$1" "node $address $taint" node <"$DIR/files-$1"
}

cluster_up() {
  local ca issued
  mkdir -p "$DIR"
  "$COMPONENTS/clusters/upstream/scripts/pki.py" create ca >"$DIR/ca.json" &
  ca=$!
  begin
  wait "$ca"
  all certificates &
  issued=$!
  all host
  wait "$issued"
  run 1 verify verify nodes_ready nodes_open
}

case $1 in
up) cluster_up ;;
down) down ;;
*)
  echo "usage: cluster.sh up|down FOLDER" >&2
  exit 2
  ;;
esac
