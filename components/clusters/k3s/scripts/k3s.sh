# shellcheck shell=bash
# Sourced by K3s's steps: where it is, how it is configured, how it is started.
# Sources: docs.k3s.io (installation, air-gap, server and agent options), install.sh of the same release.
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "${BASH_SOURCE[0]}")/step.sh"

K3S=/usr/local/bin/k3s
CONFIG=/etc/rancher/k3s/config.yaml
DATA=/var/lib/rancher/k3s

kubectl() { "$K3S" kubectl --kubeconfig=/etc/rancher/k3s/k3s.yaml "$@"; }

version_of() { "$1" --version 2>&1 | awk 'NR == 1 { print $3 }'; }

# put_images: tars that K3s imports when it starts.
put_images() {
  mkdir -p "$DATA/agent/images"
  rm -f "$DATA"/agent/images/litelab-*
  local image
  for image in "$BASE"/images/*.tar; do
    [ -e "$image" ] || continue
    place "$image" "$DATA/agent/images/litelab-$(basename "$image")"
  done
}

# configure ROLE: config.yaml as its settings say. A server's token, when it joins, is in a file of its own.
configure() {
  local role=$1
  mkdir -p "$(dirname "$CONFIG")" "$DATA/agent/etc/containerd"
  {
    echo "node-name: $NODE"
    echo "node-ip: $ADDRESS"
    echo "flannel-iface: $(interface_of "$ADDRESS")"
    echo 'kubelet-arg:'
    # Swap is the host's own; pods get none of it.
    echo '  - fail-swap-on=false'
    echo "  - resolv-conf=$(resolver_file)"
    ! is_cgroup_v1 || echo '  - fail-cgroupv1=false'
    if is_container; then
      # The disk is the machine's own: how full it is says nothing about the lab.
      echo '  - eviction-hard=memory.available<100Mi,nodefs.available<1%,nodefs.inodesFree<1%,imagefs.available<1%'
      echo '  - image-gc-high-threshold=100'
      echo '  - image-gc-low-threshold=99'
      # A host that is a container may not size the machine's connection table.
      echo 'kube-proxy-arg: [conntrack-max-per-core=0, conntrack-min=0]'
    fi
    if [ "$role" = server ]; then
      echo 'write-kubeconfig-mode: "0600"'
      echo "tls-san: [$CONTROLLER_ADDRESSES]"
      [ "$CONTROLLERS" = 1 ] || [ "$FIRST" != true ] || echo 'cluster-init: true'
      [ "$ADDONS" != minimal ] || {
        echo 'disable: [traefik, servicelb, local-storage, metrics-server]'
        echo 'disable-helm-controller: true'
      }
      if [ "$AGENTLESS" = true ]; then
        echo 'disable-agent: true'
        echo 'egress-selector-mode: cluster'
      elif [ "$RUNS_WORKLOADS" != true ]; then
        echo 'node-taint: ["node-role.kubernetes.io/control-plane=true:NoSchedule"]'
      fi
    fi
    if [ "$FIRST" != true ]; then
      echo "server: https://${CONTROLLER_ADDRESSES%%,*}:6443"
      echo "token-file: /etc/rancher/k3s/token"
    fi
  } >"$CONFIG.new"
  chmod 600 "$CONFIG.new"
  mv "$CONFIG.new" "$CONFIG"
  # Sandboxes without CAP_SYS_RESOURCE can't lower an oom score. An import adds to K3s's own configuration of containerd.
  if can_lower_oom; then
    rm -f "$DATA/agent/etc/containerd/config-v3.toml.tmpl"
  else
    printf "version = 3\n[plugins.'io.containerd.cri.v1.runtime']\n  restrict_oom_score_adj = true\n" >/etc/rancher/k3s/containerd-oom.toml
    printf 'imports = ["/etc/rancher/k3s/containerd-oom.toml"]\n{{ template "base" . }}\n' >"$DATA/agent/etc/containerd/config-v3.toml.tmpl"
  fi
}

# install_unit ROLE: K3s's own installer makes the unit and the uninstaller; it downloads and starts nothing.
install_unit() {
  local log
  # It would keep the proxy in a file of the unit's; systemd tells K3s which one there is now.
  log=$(
    unset http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY
    INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_SKIP_START=true INSTALL_K3S_SKIP_SELINUX_RPM=true \
      INSTALL_K3S_SELINUX_WARN=true sh "$(artifact install)" "$1" 2>&1
  ) || die "K3s's installer failed. It said: $(printf '%s' "$log" | tail -n 3 | tr '\n' ' ')"
}

# start UNIT SECONDS: K3s's unit has no limit of its own: with a wrong token it tries for ever, and where it ends it is restarted.
start() {
  local limit=$(($2 * PATIENCE)) deadline last looked=-1
  deadline=$((SECONDS + limit))
  timeout -k 5 "$limit" systemctl restart "$1" 2>/dev/null && return 0
  watch_unit
  until systemctl -q is-active "$1"; do
    if [ "$looked" -ne "$SECONDS" ]; then
      looked=$SECONDS
      ! is_hopeless "$1" || limit="$((SECONDS - deadline + limit))" deadline=0
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
      last=$(journal "$1")
      systemctl stop --no-block "$1" || true
      die "waited $limit s for $1 to start. Its journal ends:
$last
Look inside with '$(by_make ssh) HOST=$NODE'; run the same command again to go on."
    fi
    sleep 0.5
  done
}

# unit: what runs here.
unit() { if [ -e /etc/systemd/system/k3s.service ]; then echo k3s; else echo k3s-agent; fi; }
