#!/bin/bash
# On a host: links for the multi-call binary, containerd with the lab's images.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../shared/step.sh
. "$(dirname "$0")/step.sh"
KUBE=/etc/kubernetes

mkdir -p "$BASE/links" /etc/containerd /etc/cni/net.d "$KUBE/pki"
chmod 700 "$KUBE/pki"
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
  ln -sfn "$BASE/bin/kubernetes" "$BASE/links/$program"
done
ln -sfn "$BASE/links/kubectl" /usr/local/bin/kubectl

# Sandboxes without CAP_SYS_RESOURCE can't lower an oom score.
can_lower_oom=$((0x$(awk '/^CapEff/ { print $2 }' /proc/self/status) >> 24 & 1))
[ "$can_lower_oom" = 1 ] && restrict=false || restrict=true
[ -f /sys/fs/cgroup/cgroup.controllers ] && systemd_cgroup=true || systemd_cgroup=false

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
      SystemdCgroup = $systemd_cgroup
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
start_unit containerd 30
for image in "$BASE"/images/*.tar; do
  ctr -n k8s.io images import "$image" >/dev/null || die "containerd refused the image $(basename "$image"); its journal ends:
$(journal containerd)"
done
step_done prepare
