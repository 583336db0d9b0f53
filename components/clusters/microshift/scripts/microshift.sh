# shellcheck shell=bash
# Sourced, after step.sh, by MicroShift's steps on a host: its places, its packages, its configuration, when it is ready.
# Sources: openshift/microshift (docs/user/getting_started.md, howto_kubeconfig.md, howto_firewall.md, packaging/, pkg/cmd/addnode.go),
# microshift-io/microshift (src/quickrpm.sh, src/rpm/, src/deb/install.sh, src/cluster_manager.sh).
# shellcheck disable=SC2034 # its variables are for the scripts that source it

UNIT=microshift
KUBEADMIN=/var/lib/microshift/resources/kubeadmin
CONFIG=/etc/microshift/config.yaml
PACKAGES=$BASE/packages
PULL_SECRET=/etc/crio/openshift-pull-secret
SHORT_NAMES=/etc/containers/registries.conf.d/99-litelab.conf
CNI_PLUGINS=/etc/crio/crio.conf.d/14-microshift-cni.conf
VENDOR_LISTS=(/etc/apt/sources.list.d/litelab-{cri-o,kubernetes}.list /etc/apt/keyrings/litelab-{cri-o,kubernetes}.asc)
# Names of the packages that the lab brought, which its end takes off again.
BROUGHT=/var/lib/litelab/microshift.packages
# What minimal leaves out of a folder of packages, beside what needs Open vSwitch.
EXTRAS='topolvm|olm|multus|gitops|ai-model|low-latency|networking|greenboot|cert-manager|sriov|gateway|observability|devel'

client() { # the program that talks to the API server
  if [ -r "$BASE/files/kubectl" ]; then
    program kubectl
  else
    command -v kubectl || command -v oc || die "neither kubectl nor oc is here, and MicroShift's packages do not bring one. Name it in the lab's file (artifacts: {kubectl: PATH-OR-ADDRESS})."
  fi
}
kubectl() { timeout -k 5 60 "$CLIENT" --kubeconfig="$KUBEADMIN/kubeconfig" "$@"; }

# installed_version: what `microshift version` calls itself, or nothing.
installed_version() { { microshift version 2>/dev/null || true; } | awk -F': *' '/MicroShift Version/ { print $2; exit }'; }

# satisfies WANTED: 4.21 is any of its releases, 4.21.0_... that one.
satisfies() {
  local now
  now=$(installed_version)
  [[ -n $now && ($now == "$1" || $now == "$1".* || $now == "$1"[-_~]*) ]]
}

# packages WHAT SECONDS COMMAND...: a package manager, which waits for whoever holds its lock.
packages() {
  local what=$1 limit=$2 last code=0
  shift 2
  last=$(DEBIAN_FRONTEND=noninteractive timeout -k 5 "$limit" "$@" 2>&1 </dev/null) || code=$?
  [ "$code" -ne 124 ] || die "waited $limit s to $what. Its last words: $(one_line "$last"). Does another program hold the package manager's lock ('ps aux | grep -E \"apt|dpkg|dnf\"')? Run the same command again."
  [ "$code" -eq 0 ] || die "could not $what (exit code $code): $(one_line "$last"). Without a way out, all packages must be in the staged archive."
}

unpacked() { # unpacked ARTIFACT: the archive's folder
  rm -rf "$PACKAGES"
  mkdir -p "$PACKAGES"
  tar -xzf "$(artifact "$1")" -C "$PACKAGES" || die "the artifact $1 is no gzipped tar. Name the release's archive in the lab's file (artifacts: {$1: PATH-OR-ADDRESS})."
}

# finish_dpkg: a host that went down in the middle of an installation takes no other before. Unlike apt-get, dpkg waits for no lock.
finish_dpkg() {
  local limit=${DPKG_S:-120} deadline last
  deadline=$((SECONDS + limit))
  until last=$(DEBIAN_FRONTEND=noninteractive timeout -k 5 300 dpkg --configure -a 2>&1 </dev/null); do
    [[ $last == *lock* ]] || die "dpkg could not finish what it had begun: $(one_line "$last"). 'dpkg --audit' on the host says more; fix it, then run the same command again."
    [ "$SECONDS" -lt "$deadline" ] || die "waited $limit s for another program to give back dpkg's lock: $(one_line "$last"). 'ps aux | grep -E \"apt|dpkg\"' on the host shows it; run the same command again when it has ended."
    sleep 1
  done
}

for_here() { # for_here PACKAGE ARCHITECTURE
  case $2 in
  all | "$(dpkg --print-architecture)") ;;
  *) die "the package $1 in the artifact debs is for another processor ($2) than this host's ($(dpkg --print-architecture)), or no package. Name the archive of this one in the lab's file (artifacts: {debs: PATH-OR-ADDRESS})." ;;
  esac
}

# minimal_of: of package files by name on standard input, those that a lab gets.
minimal_of() { if [ "$ADDONS" = vendor ]; then cat; else grep -vE "/microshift-($EXTRAS)" || true; fi; }

# As src/deb/install.sh: CRI-O, kubectl and crictl of the release's own minor, signed by their repositories' keys.
from_vendor() {
  local version
  version=$(sed -n 's/^CRIO_VERSION=//p' "$PACKAGES"/*/dependencies.txt "$PACKAGES/dependencies.txt" 2>/dev/null | head -n 1)
  [ -n "$version" ] || die "the archive of packages has neither CRI-O nor a dependencies.txt that names its version."
  packages "install curl" 300 apt-get -o DPkg::Lock::Timeout=120 install -y -q curl ca-certificates
  vendor_list cri-o "https://pkgs.k8s.io/addons:/cri-o:/stable:/v$version/deb"
  vendor_list kubernetes "https://pkgs.k8s.io/core:/stable:/v$version/deb"
  packages "read the lists of CRI-O's and Kubernetes's packages" 300 apt-get update -q
  # MicroShift's clean-up asks crictl and jq.
  packages "install CRI-O $version" 600 apt-get -o DPkg::Lock::Timeout=120 install -y -q "cri-o=$version*" crun containernetworking-plugins "kubectl=$version*" cri-tools jq skopeo
}
vendor_list() { # vendor_list NAME ADDRESS
  local key=/etc/apt/keyrings/litelab-$1.asc
  mkdir -p /etc/apt/keyrings
  packages "fetch the key of the packages of $1" 120 curl -fsSL --retry 3 --max-time 60 -o "$key" "$2/Release.key"
  echo "deb [signed-by=$key] $2/ /" >"/etc/apt/sources.list.d/litelab-$1.list"
}

install_debs() {
  local files file plugins
  unpacked debs
  mapfile -t files < <(find "$PACKAGES" -name '*.deb' | minimal_of | sort)
  [ "${#files[@]}" -gt 0 ] || die "the artifact debs has no Debian package in it."
  for file in "${files[@]}"; do
    for_here "$(basename "$file")" "$(dpkg-deb -f "$file" Architecture 2>&1 || true)"
  done
  finish_dpkg
  command -v crio >/dev/null || grep -qE '/cri-o[_-]' <<<"${files[*]}" || from_vendor
  packages "install MicroShift's packages" 600 apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends --allow-downgrades "${files[@]}"
  # CRI-O's own networks would come before MicroShift's.
  find /etc/cni/net.d -name '*crio*.conflist' -exec mv {} {}.disabled \; 2>/dev/null || true
  plugins=$(dpkg -L containernetworking-plugins 2>/dev/null | grep '/portmap$' | tail -n 1 || true)
  if [ -n "$plugins" ]; then
    mkdir -p /etc/crio/crio.conf.d
    printf '[crio.network]\nplugin_dirs = ["%s"]\n' "$(dirname "$plugins")" >"$CNI_PLUGINS"
  fi
}

install_rpms() {
  local names=(microshift microshift-kindnet) minor
  [ "$ADDONS" != vendor ] || names+=(microshift-topolvm)
  unpacked rpms
  minor=$(staged_version | cut -d. -f1,2)
  printf '[microshift-local]\nname=MicroShift, staged\nbaseurl=file://%s\nenabled=1\ngpgcheck=0\n' "$PACKAGES" >/etc/yum.repos.d/litelab-microshift.repo
  printf '[microshift-deps]\nname=What MicroShift needs\nbaseurl=https://mirror.openshift.com/pub/openshift-v4/%s/dependencies/rpms/%s-el9-beta/\nenabled=1\ngpgcheck=0\nskip_if_unavailable=1\n' \
    "$(uname -m)" "$minor" >/etc/yum.repos.d/litelab-microshift-deps.repo
  packages "install MicroShift's packages" 900 dnf install -y --setopt=install_weak_deps=False "${names[@]}"
  rm -f /etc/yum.repos.d/litelab-microshift.repo /etc/yum.repos.d/litelab-microshift-deps.repo
}

install_subscribed() {
  local wanted
  wanted=$(staged_version)
  packages "install MicroShift $wanted" 900 dnf install -y "microshift-${wanted}*" openshift-clients firewalld
}

# A firewall that is on must let pods and the API through.
open_firewall() {
  systemctl -q is-active firewalld || return 0
  firewall-cmd -q --permanent --zone=trusted --add-source=10.42.0.0/16 --add-source=169.254.169.1
  firewall-cmd -q --permanent --zone=public --add-port=6443/tcp
  [ "$TOPOLOGY" != multinode ] || firewall-cmd -q --permanent --zone=public --add-port=2379/tcp --add-port=2380/tcp --add-port=10250/tcp
  firewall-cmd -q --reload
}

# install_wanted: the packages, by the flavour's own means, at the staged version.
install_wanted() {
  local wanted
  wanted=$(staged_version)
  # One that was cut short is gone on with, and what it had brought by then is its own, too.
  [ -e "$BROUGHT.before" ] || installed_packages >"$BROUGHT.before"
  case $FLAVOUR-${PACKAGE:?} in
  rhel-*) install_subscribed ;;
  *-deb) install_debs ;;
  *-rpm) install_rpms ;;
  esac
  rm -rf "$PACKAGES"
  note_brought
  short_names
  # Some packages start it before it has its whole configuration.
  systemctl try-restart crio
  open_firewall
  satisfies "$wanted" || die "the lab's file asks for MicroShift $wanted, and the packages are $(installed_version). Correct version, or artifacts."
}

installed_packages() {
  if command -v dpkg-query >/dev/null; then
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p'
  else
    rpm -qa --qf '%{NAME}\n'
  fi | LC_ALL=C sort -u
}
note_brought() {
  [ -e "$BROUGHT.before" ] || return 0
  { cat "$BROUGHT" 2>/dev/null || true; installed_packages | LC_ALL=C comm -13 "$BROUGHT.before" -; } | LC_ALL=C sort -u >"$BROUGHT.new"
  mv "$BROUGHT.new" "$BROUGHT"
  rm -f "$BROUGHT.before"
}
# forget_brought: takes them off, but for what something else has come to need.
forget_brought() {
  local name names went=true
  note_brought
  mapfile -t names <"$BROUGHT"
  [ "${#names[@]}" -gt 0 ] || return 0
  if command -v dpkg >/dev/null; then
    DEBIAN_FRONTEND=noninteractive timeout -k 5 200 dpkg --purge "${names[@]}" >/dev/null 2>&1 </dev/null || true
    return
  fi
  while $went; do
    went=false
    for name in "${names[@]}"; do
      # One by one: several at once go all or not at all.
      if rpm -q "$name" >/dev/null 2>&1 && timeout -k 5 60 rpm -e "$name" >/dev/null 2>&1 </dev/null; then went=true; fi
    done
  done
}

# short_names: 'litelab/pause' is docker.io's here as on containerd; CRI-O refuses it if no file says so.
short_names() {
  mkdir -p "$(dirname "$SHORT_NAMES")"
  printf 'unqualified-search-registries = ["docker.io"]\n' >"$SHORT_NAMES"
}

# images_in: the lab's images into CRI-O's storage, by whichever program is here.
images_in() {
  local tar last
  for tar in "$BASE"/images/*.tar; do
    [ -e "$tar" ] || continue
    if command -v skopeo >/dev/null; then
      last=$(timeout -k 5 120 skopeo copy -q "$(image_form "$tar"):$tar" "containers-storage:$(image_name "$tar")" 2>&1) || die "skopeo refused the image $(basename "$tar"): $(one_line "$last")."
    elif command -v podman >/dev/null; then
      last=$(timeout -k 5 120 podman load -q -i "$tar" 2>&1) || die "podman refused the image $(basename "$tar"): $(one_line "$last")."
    else
      die "neither skopeo nor podman is here, and one of them has to put the lab's images into CRI-O's storage. Install skopeo on the host, or add it to the staged packages."
    fi
  done
}
# image_form TAR: skopeo doesn't find out itself whether it is a tar of docker's or an OCI layout.
image_form() { if tar -tf "$1" manifest.json >/dev/null 2>&1; then echo docker-archive; else echo oci-archive; fi; }
image_name() {
  case $(image_form "$1") in
  docker-archive) tar -xOf "$1" manifest.json | tr -d ' \n' | sed -n 's/.*"RepoTags":\["\([^"]*\)".*/\1/p' ;;
  *) tar -xOf "$1" index.json | tr -d ' \n' | sed -n 's/.*"io\.containerd\.image\.name":"\([^"]*\)".*/\1/p' ;;
  esac
}

# configure: MicroShift's file, and a restart when it differs from what runs. Says whether it changed.
configure() {
  local new
  new=$(
    printf 'node:\n  hostnameOverride: %s\n  nodeIP: %s\napiServer:\n  subjectAltNames:\n  - %s\n' "$NODE" "$ADDRESS" "$ADDRESS"
    [ "$ADDONS" = vendor ] || printf 'ingress:\n  status: Removed\nstorage:\n  driver: none\n  optionalCsiComponents:\n  - none\ntelemetry:\n  status: Disabled\n'
    # Swap is the host's own; pods get none of it.
    printf 'kubelet:\n  failSwapOn: false\n  resolvConf: %s\n' "$(resolver_file)"
    ! is_cgroup_v1 || echo '  failCgroupV1: false'
    # The disk is the machine's own: how full it is says nothing about the lab.
    ! is_container || cat <<'YAML'
  evictionHard:
    memory.available: 100Mi
    nodefs.available: 1%
    nodefs.inodesFree: 1%
    imagefs.available: 1%
  imageGCHighThresholdPercent: 100
  imageGCLowThresholdPercent: 99
YAML
  )
  [ "$(cat "$CONFIG" 2>/dev/null)" != "$new" ] || return 1
  mkdir -p "$(dirname "$CONFIG")"
  printf '%s\n' "$new" >"$CONFIG"
}

# up: the service runs, and answers. Type=notify: a start that blocks would outlast the connection's patience.
up() {
  local verb=start
  ! configure || verb=restart
  systemctl enable -q crio "$UNIT"
  systemctl -q is-active crio || start_unit crio 120
  images_in
  systemctl "$verb" --no-block "$UNIT"
  CLIENT=$(client)
  wait_for "MicroShift to start and its API server to be ready" 420 "$UNIT" api_ready
}
api_ready() {
  local state
  state=$(systemctl is-active "$UNIT" || true)
  echo "$UNIT is $state"
  [ "$state" = active ] && kubectl get --raw '/readyz?verbose=false'
}
# Not 'microshift healthcheck': it waits for the router, which minimal leaves out.
dns_ready() { [ "$DNS" = false ] || wait_for "cluster DNS (whose images come from quay.io, or are staged)" 300 "$UNIT" dns_up; }
dns_up() { kubectl -n openshift-dns rollout status daemonset/dns-default --timeout=30s; }
node_ready() { kubectl wait --for=condition=Ready "node/$NODE" --timeout=20s; }
