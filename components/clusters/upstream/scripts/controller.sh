#!/bin/bash
# controller.sh create|delete, on a controller: etcd, API server, controller manager and scheduler, until the API is ready.
# Input: ADDRESS, INTERNET, CIDRs, then a base64 tar of certificates and kubeconfigs for /. Of several controllers each is also told
# MEMBERS, NAME=ADDRESS of all with commas, and ETCD_OF, which is another when one of them was replaced: then so is etcd, for a
# member of a cluster that it knows nothing of may not come back by itself.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/own.sh
. "$(dirname "$0")/own.sh"
KUBE=/etc/kubernetes
UNITS="etcd kube-apiserver kube-controller-manager kube-scheduler"
STORE_OF=/var/lib/litelab/etcd-of

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

# begins_anew: what is in etcd's store is not of this cluster, or has never been served from. An etcd that was killed as it laid
# out its store finds no member in it, and never a leader.
begins_anew() {
  if [ -e "$STORE_OF" ]; then
    [ "$(<"$STORE_OF")" != "${ETCD_OF:-alone}" ]
  else
    # A lab of before there was that file.
    [ -n "$ETCD_OF" ] || ! grep -qs '"step":"controller"' /var/lib/litelab/steps.jsonl
  fi
}

# members: what etcd calls the initial cluster.
members() {
  local member list=()
  for member in ${MEMBERS//,/ }; do list+=("${member%%=*}=https://${member#*=}:2380"); done
  local IFS=,
  echo "${list[*]}"
}

create() {
  local peer=127.0.0.1 initial elect=false
  MEMBERS='' ETCD_OF=''
  read_input
  base64 -d | tar -xzf - -C /
  local pki=$KUBE/pki
  initial=$NODE=https://127.0.0.1:2380
  if [ -n "$MEMBERS" ]; then peer=$ADDRESS initial=$(members) elect=true; fi
  if begins_anew; then
    systemctl stop etcd 2>/dev/null || true
    clear_folder /var/lib/etcd
  fi
  mkdir -p /var/lib/etcd
  chmod 700 /var/lib/etcd
  unit etcd notify "" "etcd, the cluster's datastore" "$BASE/bin/etcd --name=$NODE --data-dir=/var/lib/etcd \
--listen-client-urls=https://127.0.0.1:2379 --advertise-client-urls=https://127.0.0.1:2379 \
--listen-peer-urls=https://$peer:2380 --initial-advertise-peer-urls=https://$peer:2380 \
--initial-cluster=$initial --client-cert-auth --peer-client-cert-auth \
--cert-file=$pki/etcd.crt --key-file=$pki/etcd.key --trusted-ca-file=$pki/ca.crt \
--peer-cert-file=$pki/etcd.crt --peer-key-file=$pki/etcd.key --peer-trusted-ca-file=$pki/ca.crt"
  unit kube-apiserver notify etcd.service "Kubernetes API server" "$BASE/links/kube-apiserver --advertise-address=$ADDRESS --secure-port=6443 \
--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --anonymous-auth=false --allow-privileged=true \
--client-ca-file=$pki/ca.crt --tls-cert-file=$pki/apiserver.crt --tls-private-key-file=$pki/apiserver.key \
--etcd-servers=https://127.0.0.1:2379 --etcd-cafile=$pki/ca.crt --etcd-certfile=$pki/etcd-client.crt --etcd-keyfile=$pki/etcd-client.key \
--kubelet-client-certificate=$pki/kubelet-client.crt --kubelet-client-key=$pki/kubelet-client.key --kubelet-certificate-authority=$pki/ca.crt \
--kubelet-preferred-address-types=InternalIP,Hostname --service-cluster-ip-range=$SERVICE_CIDR \
--service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file=$pki/sa.pub --service-account-signing-key-file=$pki/sa.key \
--requestheader-client-ca-file=$pki/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User \
--requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
--proxy-client-cert-file=$pki/front-proxy-client.crt --proxy-client-key-file=$pki/front-proxy-client.key"
  unit kube-controller-manager simple kube-apiserver.service "Kubernetes controller manager" "$BASE/links/kube-controller-manager --bind-address=127.0.0.1 \
--kubeconfig=$KUBE/controller-manager.conf --authentication-kubeconfig=$KUBE/controller-manager.conf --authorization-kubeconfig=$KUBE/controller-manager.conf \
--use-service-account-credentials --service-account-private-key-file=$pki/sa.key --root-ca-file=$pki/ca.crt --leader-elect=$elect \
--allocate-node-cidrs --cluster-cidr=$POD_CIDR --service-cluster-ip-range=$SERVICE_CIDR --cluster-name=$CLUSTER"
  unit kube-scheduler simple kube-apiserver.service "Kubernetes scheduler" "$BASE/links/kube-scheduler --bind-address=127.0.0.1 --leader-elect=$elect \
--kubeconfig=$KUBE/scheduler.conf --authentication-kubeconfig=$KUBE/scheduler.conf --authorization-kubeconfig=$KUBE/scheduler.conf"
  systemctl daemon-reload
  # shellcheck disable=SC2086
  systemctl enable -q $UNITS
  # Of several the first waits for another to be there.
  start_unit etcd 60
  printf '%s\n' "${ETCD_OF:-alone}" >"$STORE_OF"
  start_unit kube-apiserver 90
  export KUBECONFIG=$KUBE/admin.conf
  # One that runs from an earlier try ends by itself as its API server is restarted, and then the job to restart it fails.
  wait_for "the controller manager and the scheduler to start" 30 kube-controller-manager systemctl restart kube-controller-manager kube-scheduler
  wait_for "the API server to be ready" 90 kube-apiserver kubectl get --raw '/readyz?verbose=false'
  wait_for "the bootstrap roles" 60 kube-apiserver kubectl get clusterrole system:node-proxier -o name
  # One of several is enough.
  [[ ${MEMBERS:-$NODE=} != "$NODE="* ]] || addons
  step_done controller
}

addons() {
  sed -e "s|@DNS@|$DNS_ADDRESS|; s|@COREDNS@|$COREDNS_IMAGE|; s|@FORWARD@|$([ "$INTERNET" = true ] && echo 'forward . /etc/resolv.conf' || true)|" \
    "$BASE/scripts/addons.yaml" | kubectl apply --server-side -f - >/dev/null || die "the API server refused the add-ons; its journal ends:
$(journal kube-apiserver)"
}

# A host that is no controller any more, and stays.
delete() {
  local unit
  for unit in $UNITS; do
    systemctl disable -q --now "$unit" 2>/dev/null || true
    rm -f "/etc/systemd/system/$unit.service"
  done
  systemctl daemon-reload
  # shellcheck disable=SC2086
  systemctl reset-failed $UNITS 2>/dev/null || true
  remove /var/lib/etcd
  rm -f "$STORE_OF"
}

case ${1:-} in
create | delete) "$1" ;;
*) die "usage: controller.sh create|delete" ;;
esac
