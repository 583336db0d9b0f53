#!/bin/bash
# On a host: links for the multi-call binary, containerd with the lab's images.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=runtime.sh
. "$(dirname "$0")/runtime.sh"
KUBE=/etc/kubernetes

mkdir -p "$BASE/links" /usr/local/bin /etc/containerd /etc/cni/net.d "$KUBE/pki"
chmod 700 "$KUBE/pki"
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
  ln -sfn "$BASE/bin/kubernetes" "$BASE/links/$program"
done
ln -sfn "$BASE/links/kubectl" /usr/local/bin/kubectl

configure_containerd
systemctl daemon-reload
start_unit containerd 30
import_images
step_done prepare
