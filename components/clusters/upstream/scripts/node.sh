#!/bin/bash
# node.sh create, on every host: kubelet, kube-proxy and flannel, until the API server reports the node Ready.
# Input: settings, then a base64 tar of the node's certificates and kubeconfigs for /. With several controllers ENDPOINT is the name
# by which the API is reached, and CONTROLLERS, with commas, are the addresses that it stands for.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/names.sh
. "$(dirname "$0")/names.sh"
KUBE=/etc/kubernetes

kubelet_config() {
  local taints='' gates='{}' driver=cgroupfs
  [ "$TAINT" != true ] || taints='registerWithTaints: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]'
  [ $((0x$(awk '/^CapEff/ { print $2 }' /proc/self/status) >> 24 & 1)) = 1 ] || gates='{KubeletInUserNamespace: true}'
  [ ! -f /sys/fs/cgroup/cgroup.controllers ] || driver=systemd
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
clusterDNS: [$DNS_ADDRESS]
clusterDomain: cluster.local
resolvConf: $(resolver_file)
cgroupDriver: $driver
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
featureGates: $gates
# From 1.35 on a kubelet refuses cgroup v1 without failCgroupV1: false.
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
}

# name_controllers: a client tries the addresses of a name one after another, so each node begins with another one; a controller
# with its own. One controller has no such name.
name_controllers() {
  local addresses n first
  if [ -z "$ENDPOINT" ]; then
    forget_names
    return
  fi
  IFS=, read -ra addresses <<<"$CONTROLLERS"
  first=$(((${NODE##*-} - 1) % ${#addresses[@]}))
  for ((n = 0; n < ${#addresses[@]}; n++)); do
    printf '%s %s\n' "${addresses[(first + n) % ${#addresses[@]}]}" "$ENDPOINT"
  done | put_names
  # A connection to a controller that is gone is given up after 10 s instead of 45 (k8s.io/apimachinery, pkg/util/net/http.go).
  IMPATIENT=$'Environment=HTTP2_READ_IDLE_TIMEOUT_SECONDS=5\nEnvironment=HTTP2_PING_TIMEOUT_SECONDS=5\n'
}

units() {
  cat >/etc/systemd/system/kubelet.service <<UNIT
[Unit]
Description=kubelet
After=containerd.service
Requires=containerd.service

[Service]
Environment=PATH=$BASE/links:$BASE/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
${IMPATIENT}ExecStart=$BASE/links/kubelet --config=$KUBE/kubelet.yaml --kubeconfig=$KUBE/kubelet.conf --hostname-override=$NODE --node-ip=$ADDRESS
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
${IMPATIENT}ExecStart=$BASE/links/kube-proxy --config=$KUBE/kube-proxy.yaml --hostname-override=$NODE
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
UNIT
  # It ends when the node has no pod subnet yet; the next start is soon enough to be the wait.
  cat >/etc/systemd/system/flanneld.service <<UNIT
[Unit]
Description=flannel, pods across hosts
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
Environment=NODE_NAME=$NODE
${IMPATIENT}ExecStart=$BASE/bin/flanneld -kubeconfig=$KUBE/flannel.conf -net-conf=$KUBE/flannel.json -iface=$INTERFACE
ExecStartPost=$BASE/scripts/cni-conf.sh
Restart=always
RestartSec=300ms

[Install]
WantedBy=multi-user.target
UNIT
}

node_ready() {
  kubectl --kubeconfig="$KUBE/kubelet.conf" wait --for=condition=Ready "node/$NODE" --timeout=20s
}

create() {
  ENDPOINT='' CONTROLLERS='' IMPATIENT=''
  read_input
  base64 -d | tar -xzf - -C /
  name_controllers
  INTERFACE=$(ip -o -4 addr show to "$ADDRESS" | awk '{ print $2; exit }')
  [ -n "$INTERFACE" ] || die "no interface has the address $ADDRESS, which the lab gives this host. 'ip addr' on the host shows what it has."
  kubelet_config >"$KUBE/kubelet.yaml"
  printf '{"Network":"%s","EnableIPv4":true,"Backend":{"Type":"vxlan"}}\n' "$POD_CIDR" >"$KUBE/flannel.json"
  cat >"$KUBE/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
clientConnection: {kubeconfig: $KUBE/kube-proxy.conf}
clusterCIDR: $POD_CIDR
mode: iptables
# A host that is a container may not size the machine's connection table.
conntrack: {maxPerCore: 0, min: 0}
YAML
  units
  systemctl daemon-reload
  systemctl enable -q containerd kubelet kube-proxy flanneld
  # A pod that starts before flannel has this cluster's subnet would be on that of one before.
  rm -f /etc/cni/net.d/10-litelab.conflist
  # An earlier step may have ended because systemd had given one up.
  systemctl reset-failed kubelet kube-proxy flanneld 2>/dev/null || true
  systemctl restart --no-block kubelet kube-proxy flanneld
  wait_for "the node to be Ready" 120 kubelet node_ready
  # One that was told again keeps the version that it runs.
  [ -e "$RUNNING" ] || mark_running
  step_done node
}

case ${1:-} in
create) create ;;
*) die "usage: node.sh create" ;;
esac
