# shellcheck shell=bash
# Sourced by k0s's steps: where it is, how it is configured, how it is started.
# Sources: docs.k0sproject.io (manual installation, air-gapped installation, configuration, upgrade), `k0s install --help`.
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "${BASH_SOURCE[0]}")/step.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/logins.sh
. "$(dirname "${BASH_SOURCE[0]}")/logins.sh"

K0S=/usr/local/bin/k0s
CONFIG=/etc/k0s/k0s.yaml
DATA=/var/lib/k0s
CONTAINERD=/etc/k0s/containerd.d/litelab.toml

kubectl() { "$K0S" kubectl --kubeconfig="$DATA/pki/admin.conf" "$@"; }

version_of() { "$1" version 2>&1 | head -n 1; }

# put_images: tars that k0s's workers import when they start, and when one is new; by links, for copies of hundreds of megabytes
# would keep the disk busy while k0s starts. A controller without kubelet has no use for them.
put_images() {
  mkdir -p "$DATA/images"
  local image link
  for link in "$DATA"/images/litelab-*; do [ -e "$link" ] || rm -f "$link"; done
  for image in "$BASE"/images/*.tar; do
    [ -e "$image" ] || continue
    link=$DATA/images/litelab-$(basename "$image")
    # Another file of that name is seen by a new link alone.
    if [ ! -L "$link" ] || [ "$(stat -c %Z "$image")" -gt "$(stat -c %Z "$link")" ]; then ln -sfn "$image" "$link"; fi
  done
}

# configure: k0s.yaml of a controller. Telemetry is off whatever the add-ons.
configure() {
  local address failover=false
  [ "$CONTROLLERS" = 1 ] || failover=${FAILOVER:?}
  mkdir -p "$(dirname "$CONFIG")"
  {
    cat <<YAML
apiVersion: k0s.k0sproject.io/v1beta1
kind: ClusterConfig
metadata: {name: k0s, namespace: kube-system}
spec:
  api:
    address: ${ADDRESS:?}
    sans:
YAML
    for address in ${CONTROLLER_ADDRESSES//,/ }; do echo "      - $address"; done
    cat <<YAML
  storage: {type: etcd, etcd: {peerAddress: $ADDRESS}}
  telemetry: {enabled: false}
  network:
    provider: kuberouter
    nodeLocalLoadBalancing: {enabled: $failover, type: EnvoyProxy}
  workerProfiles:
    # Swap is the host's own; pods get none of it.
    - name: litelab-host
      values: {failSwapOn: false}
    # For hosts that are containers: the disk is the machine's own, how full it is says nothing about the lab.
    - name: litelab-container
      values:
        evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
        imageGCHighThresholdPercent: 100
        imageGCLowThresholdPercent: 99
        failSwapOn: false
        failCgroupV1: false
    - name: litelab-cgroup-v1
      values:
        failSwapOn: false
        failCgroupV1: false
YAML
  } >"$CONFIG.new"
  chmod 600 "$CONFIG.new"
  mv "$CONFIG.new" "$CONFIG"
}

# configure_containerd: where mirrors of registries are told (docs.k0sproject.io, runtime) and their logins, and sandboxes without CAP_SYS_RESOURCE
# can't lower an oom score. From 1.36 on k0s takes containerd 2's form alone.
configure_containerd() {
  local form=2 images=io.containerd.grpc.v1.cri runtime=io.containerd.grpc.v1.cri
  [ "$(staged_version | cut -d. -f2)" -lt 36 ] || form=3 images=io.containerd.cri.v1.images runtime=io.containerd.cri.v1.runtime
  mkdir -p "$(dirname "$CONTAINERD")"
  # It may hold logins.
  install -m 600 /dev/null "$CONTAINERD.new"
  {
    printf 'version = %s\n[plugins."%s".registry]\n  config_path = "/etc/containerd/certs.d"\n' "$form" "$images"
    can_lower_oom || printf '[plugins."%s"]\n  restrict_oom_score_adj = true\n' "$runtime"
    mirror_logins "$images"
  } >"$CONTAINERD.new"
  mv "$CONTAINERD.new" "$CONTAINERD"
}

# worker_flags: of a host that runs a kubelet, by the name and the address that the lab gives it.
worker_flags() {
  echo "--kubelet-extra-args=--hostname-override=$NODE --node-ip=${ADDRESS:?} --resolv-conf=$(resolver_file)"
  if is_container; then
    echo '--profile=litelab-container'
  elif is_cgroup_v1; then
    echo '--profile=litelab-cgroup-v1'
  else
    echo '--profile=litelab-host'
  fi
}

# install_unit ROLE FLAGS...: k0s's own unit, written again when its flags have changed.
install_unit() {
  local log
  log=$("$K0S" install "$@" --force 2>&1) || die "k0s did not install its unit: $(printf '%s' "$log" | tail -n 3 | tr '\n' ' ')"
  systemctl daemon-reload
}

# controller_flags: which of k0s's own components stay out, and whether the host is a node too.
controller_flags() {
  [ "$ADDONS" != minimal ] || echo '--disable-components=metrics-server,autopilot,helm,update-prober'
  [ "$RUNS_WORKLOADS" != true ] || {
    echo '--enable-worker'
    echo '--no-taints'
    worker_flags
  }
}

# api_ready: k0s's kubectl is a large program to start, and a closed port says as much.
api_ready() {
  { : 3<>/dev/tcp/127.0.0.1/6443; } 2>/dev/null || {
    echo 'nothing takes connections on port 6443'
    return 1
  }
  kubectl get --raw '/readyz?verbose=false'
}

start_controller() {
  # Its unit counts as started at once; the wait is for the API.
  start_unit k0scontroller 60
  wait_for "the API server to be ready" 240 k0scontroller api_ready
}

# unit: what runs here.
unit() { if [ -e /etc/systemd/system/k0scontroller.service ]; then echo k0scontroller; else echo k0sworker; fi; }
