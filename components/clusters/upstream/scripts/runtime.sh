# shellcheck shell=bash
# Sourced on a host, after step.sh: containerd's configuration and unit, and the lab's images in it.
# shellcheck source-path=SCRIPTDIR source=../../scripts/logins.sh
. "$(dirname "${BASH_SOURCE[0]}")/logins.sh"
CONTAINERD=/etc/containerd/config.toml

configure_containerd() {
  local restrict=true systemd_cgroup=false
  # Sandboxes without CAP_SYS_RESOURCE can't lower an oom score.
  ! can_lower_oom || restrict=false
  [ ! -f /sys/fs/cgroup/cgroup.controllers ] || systemd_cgroup=true
  # It may hold logins.
  install -m 600 /dev/null "$CONTAINERD.new"
  {
    cat <<TOML
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
    mirror_logins io.containerd.grpc.v1.cri
  } >"$CONTAINERD.new"
  mv "$CONTAINERD.new" "$CONTAINERD"
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
}

import_images() {
  local image
  for image in "$BASE"/images/*.tar; do
    ctr -n k8s.io images import "$image" >/dev/null || die "containerd refused the image $(basename "$image"); its journal ends:
$(journal containerd)"
  done
}
